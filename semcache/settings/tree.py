"""All settings, and the one way to read them: the environment before the TOML file, with all problems at once."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import (
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from semcache.errors import SettingsError
from semcache.model import ApiProtocol
from semcache.settings.costs import CostSettings
from semcache.settings.operations import LogSettings, MetricsSettings, StoreSettings
from semcache.settings.requests import CacheabilitySettings, TaskSettings
from semcache.settings.semantic import DecisionSettings, EmbeddingSettings, IndexSettings
from semcache.settings.server import AuthSettings, KeySettings, LimitSettings, ServerSettings
from semcache.settings.upstream import UpstreamSettings


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="SEMCACHE_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    keys: KeySettings = KeySettings()
    cacheability: CacheabilitySettings = CacheabilitySettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    index: IndexSettings = IndexSettings()
    decision: DecisionSettings = DecisionSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    tasks: TaskSettings = TaskSettings()
    store: StoreSettings = StoreSettings()
    costs: CostSettings = CostSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources: the environment before the file, and nothing else."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @model_validator(mode="after")
    def _safe(self) -> Self:
        problems = []
        hosts = {"server.host": self.server.host}
        if self.server.http.enabled:
            hosts["server.http.host"] = self.server.http.host
        problems += [
            f"{name} {host!r} is not loopback while auth.enabled is false: turn auth on, or bind 127.0.0.1"
            for name, host in hosts.items()
            if not self.auth.enabled and not _is_loopback(host)
        ]
        if self.auth.enabled and not self.auth.keys and not self.auth.certificates:
            problems.append("auth.enabled needs at least one of auth.keys and auth.certificates")
        if self.auth.certificates and self.server.tls.client_ca_file is None:
            problems.append("auth.certificates needs server.tls.client_ca_file")
        if self.tasks.critical and self.upstream.targets and not self.upstream.leads_anywhere(self.tasks.verifier):
            problems.append(
                f"tasks.verifier {self.tasks.verifier!r} is an alias that no route leads anywhere, "
                "whatever the task type and complexity: nothing critical would be kept"
            )
        judge = self.decision.verifier.route
        if judge and self.upstream.targets and not self.upstream.leads_anywhere(judge):
            problems.append(
                f"decision.verifier.route {judge!r} is an alias that no route leads anywhere, "
                "whatever the task type and complexity: no candidate would be judged"
            )
        elif judge and self.upstream.targets and not self.upstream.speaks(judge, ApiProtocol.CHAT):
            problems.append(
                f"decision.verifier.route {judge!r} leads to no target that speaks chat, in which the judge is asked"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load_settings(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings: of the environment, else of a TOML file, else the defaults.

    Args:
        path: the TOML file; None for none.
        overrides: a nested mapping that is preferred to the file, for a command's own flags.

    Raises:
        SettingsError: a value is wrong or the file can't be read; the error lists all problems.
    """
    values: dict[str, Any] = {}
    source = str(path) if path else "the environment"
    if path is not None:
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise SettingsError([f"{path} can't be read: {error.strerror}"]) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError([f"not TOML: {error}"], source=source) from error
    for section, fields in (overrides or {}).items():
        values[section] = {**values.get(section, {}), **fields} if isinstance(fields, Mapping) else fields
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError([_problem(item) for item in error.errors()], source=source) from error


def _problem(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    message = "unknown key" if item["type"] == "extra_forbidden" else str(item["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
