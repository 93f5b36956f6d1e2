"""Digits with plain PyTorch and MLflow, as one would write it: one model after another.

``python -m benchmarks.plain_script --help``; `benchmarks.sweep_speed` measures the sweep against
it. Prints images per second of the epochs after each model's first.
"""

from __future__ import annotations

import argparse
import time

import mlflow
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.stock_resnet9 import StockResNet9
from suite.data.splits import load


def main() -> None:
    """Train some models, and print one number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--models", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tracking-uri", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    mlflow.set_tracking_uri(arguments.tracking_uri)
    mlflow.set_experiment("plain")
    digits = load("digits", None)
    train, validation = (
        TensorDataset(part.images.float() / 255, part.labels)
        for part in (digits.train, digits.validation)
    )
    seconds = 0.0
    for seed in range(arguments.models):
        with mlflow.start_run():
            seconds += train_model(train, validation, seed, arguments)
    counted = arguments.models * (arguments.epochs - 1) * len(train)
    print(counted / seconds)


def train_model(
    train: TensorDataset, validation: TensorDataset, seed: int, arguments: argparse.Namespace
) -> float:
    """Train one model; seconds from its second epoch on."""
    torch.manual_seed(seed)
    model = StockResNet9(1, 8, 10)
    rule = torch.optim.SGD if arguments.optimizer == "sgd" else torch.optim.Adam
    optimizer = rule(model.parameters(), lr=1e-3)
    batches = DataLoader(train, batch_size=arguments.batch_size, shuffle=True)
    held_out = DataLoader(validation, batch_size=256)
    start = time.perf_counter()
    for epoch in range(arguments.epochs):
        if epoch == 1:
            start = time.perf_counter()
        model.train()
        train_loss, correct = 0.0, 0
        for images, labels in batches:
            optimizer.zero_grad()
            scores = model(images)
            loss = F.cross_entropy(scores, labels)
            loss.backward()
            optimizer.step()
            train_loss += loss.item() * len(labels)
            correct += (scores.argmax(1) == labels).sum().item()
        model.eval()
        val_loss, val_correct = 0.0, 0
        with torch.no_grad():
            for images, labels in held_out:
                scores = model(images)
                val_loss += F.cross_entropy(scores, labels, reduction="sum").item()
                val_correct += (scores.argmax(1) == labels).sum().item()
        metrics = {
            "train_loss": train_loss / len(train),
            "train_accuracy": correct / len(train),
            "val_loss": val_loss / len(validation),
            "val_accuracy": val_correct / len(validation),
        }
        mlflow.log_metrics(metrics, step=epoch + 1)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
