-- MLflow's database is made by the image; Optuna's study and the leases live in their own.
CREATE DATABASE optuna;
