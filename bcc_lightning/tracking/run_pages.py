"""Listing runs page by page."""

from mlflow import MlflowClient
from mlflow.entities import Run


def all_pages(client: MlflowClient, experiments: list[str], condition: str) -> list[Run]:
    """List all runs that fulfil a condition, the newest first, page by page."""
    runs: list[Run] = []
    token: str | None = ""
    while token is not None:
        page = client.search_runs(
            experiments, condition, max_results=1000, order_by=["attributes.start_time DESC"], page_token=token or None
        )
        runs.extend(page)
        token = page.token or None
    return runs
