# The tracking server and its UI. Its arguments, such as where the runs are stored, stand in compose.yaml.
FROM python:3.12.12-slim-bookworm

# 3.18.0 cannot be installed: the mlflow-skinny that it asks for is missing.
RUN pip install --no-cache-dir "mlflow>=3.17,!=3.18.0,<4" "psycopg2-binary>=2.9.10,<3"

# The artifact folder exists here, owned by the user, so that the named volume mounted there starts out writable.
RUN useradd --uid 1000 --user-group --create-home --no-log-init mlflow \
    && install --directory --owner=mlflow --group=mlflow /mlflow /mlflow/artifacts
WORKDIR /mlflow

# MLflow reports usage to its makers unless told not to.
ENV MLFLOW_DISABLE_TELEMETRY=true \
    PYTHONUNBUFFERED=1

EXPOSE 5000

# By number, so that a host can tell that it is not root.
USER 1000:1000
ENTRYPOINT ["mlflow", "server"]
