# The MLflow server in the version that the suite is tested with, and PostgreSQL's driver.
FROM python:3.12-slim

COPY constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt mlflow 'psycopg[binary]' \
    && useradd --create-home mlflow \
    && install --directory --owner mlflow /artifacts

USER mlflow
WORKDIR /home/mlflow
ENTRYPOINT ["mlflow"]
