"""One frozen, validated tree of settings.

- It owns every setting: its default, its unit and its reason stand beside its field. `semcache.toml` is written from
  them. No other room reads the environment or the TOML file.
- A value of the environment (`SEMCACHE_SERVER__PORT=…`, two underscores between levels) is preferred to the file's.
- Thread: settings are read once, at the start, and are frozen; any thread may read them. They remember nothing.
"""

from semcache.settings.costs import Budget, CostModelSettings, CostSettings, OverheadSettings, ProviderCharge
from semcache.settings.operations import (
    EncryptionSettings,
    LogSettings,
    MasterKeySource,
    MetricsSettings,
    StoreSettings,
)
from semcache.settings.requests import (
    CacheabilitySettings,
    ComplexityRule,
    DeclaredTemplate,
    TaskExemplars,
    TaskRule,
    TaskSettings,
)
from semcache.settings.section import DEFAULT_MODEL, SHIPPED, Section
from semcache.settings.semantic import (
    DecisionSettings,
    EmbeddingSettings,
    IndexSettings,
    JudgeSettings,
    NamespaceThreshold,
)
from semcache.settings.server import (
    ALL_ROLES,
    ApiKey,
    AuthSettings,
    ClientCertificate,
    HttpSettings,
    KeySettings,
    LimitSettings,
    Role,
    ServerSettings,
    TlsSettings,
)
from semcache.settings.tree import Settings, load_settings
from semcache.settings.upstream import (
    BreakerSettings,
    DegradedSettings,
    Fallback,
    RetrySettings,
    Route,
    Target,
    TargetPrice,
    UpstreamSettings,
    WeightedTarget,
)

__all__ = [
    "ALL_ROLES",
    "DEFAULT_MODEL",
    "SHIPPED",
    "ApiKey",
    "AuthSettings",
    "BreakerSettings",
    "Budget",
    "CacheabilitySettings",
    "ClientCertificate",
    "ComplexityRule",
    "CostModelSettings",
    "CostSettings",
    "DecisionSettings",
    "DeclaredTemplate",
    "DegradedSettings",
    "EmbeddingSettings",
    "EncryptionSettings",
    "Fallback",
    "HttpSettings",
    "IndexSettings",
    "JudgeSettings",
    "KeySettings",
    "LimitSettings",
    "LogSettings",
    "MasterKeySource",
    "MetricsSettings",
    "NamespaceThreshold",
    "OverheadSettings",
    "ProviderCharge",
    "RetrySettings",
    "Role",
    "Route",
    "Section",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "Target",
    "TargetPrice",
    "TaskExemplars",
    "TaskRule",
    "TaskSettings",
    "TlsSettings",
    "UpstreamSettings",
    "WeightedTarget",
    "load_settings",
]
