"""Which values can an operator set from outside?"""

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything that the environment can change; each variable is the field's name with the prefix INTERVAL_.

    Attributes:
        database_url: SQLAlchemy URL of the findings: `sqlite:///file.sqlite` or `postgresql+psycopg://...`.
        model: Folder of the model; None for the embedded one.
        workers: Processes that index, and jobs that one process runs at a time.
        rules: Pairing rules: "default", "same-view" (radiographs), "same-season" (scenes) or a TOML file.
        log_level: Least severe level that is written.
        log_format: "text", "json", or "auto": text on a terminal, JSON elsewhere.
        heartbeat_seconds: Time between two signs of life of a worker, in seconds.
        stale_seconds: Silence after which a worker's running jobs are taken over, in seconds.
        queue_poll_seconds: Time between two looks at the queue, in seconds.
        dicomweb_user: User of a DICOMweb peer.
        dicomweb_password: That user's password.
        dicomweb_token: Bearer token in the place of user and password.
        stac_token: Bearer token for a STAC API.
    """

    model_config = SettingsConfigDict(env_prefix="INTERVAL_", extra="ignore")

    database_url: str = "sqlite:///interval.sqlite"
    model: Path | None = None
    workers: int = Field(default=2, ge=1, le=256)
    rules: str = "default"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"
    log_format: Literal["auto", "text", "json"] = "auto"
    heartbeat_seconds: float = Field(default=5.0, gt=0)
    stale_seconds: float = Field(default=20.0, gt=0)
    queue_poll_seconds: float = Field(default=0.2, gt=0)
    dicomweb_user: str = ""
    dicomweb_password: SecretStr = SecretStr("")
    dicomweb_token: SecretStr = SecretStr("")
    stac_token: SecretStr = SecretStr("")


@cache
def get_settings() -> Settings:
    """Settings of this process, read from the environment once."""
    return Settings()
