"""Every setting, in one model: environment ``TOCSIN_*`` first, then ``tocsin.toml``, then the default.

Holds values only. Nothing here counts, connects or decides.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from tocsin.edge import fields

IpNetwork = IPv4Network | IPv6Network

_BUSES = ("memory://", "postgres://", "postgresql://", "redis://", "rediss://", "unix://")


class Settings(BaseSettings):
    """Fields read ``TOCSIN_<FIELD>``. Lists are given as comma-separated words."""

    model_config = SettingsConfigDict(
        env_prefix="TOCSIN_",
        toml_file="tocsin.toml",
        extra="forbid",
        frozen=True,
        # An error must name the field and the rule, never echo what may be a secret.
        hide_input_in_errors=True,
    )

    data_dir: Path = Field(Path("tocsin-data"), description="Where the database file and the keys live.")
    database_url: str = Field(
        "",
        description="`sqlite:///…` or `postgresql://…`. Empty: `tocsin.db` in the data directory.",
        json_schema_extra={"secret": True},
    )
    bus_url: str = Field(
        "",
        description="Over what processes wake each other: `memory://` within one, `postgres://` over the database, or "
        "`redis://…`. Empty: what fits the database.",
        json_schema_extra={"secret": True},
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port the web server listens on; 0 takes a free one.")
    health_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port on which processes without a web server answer `/health/live`, `/health/ready` and "
        "`/metrics`; 0: none.",
    )
    grpc_port: int = Field(4317, ge=0, le=65535, description="Port for workers that are far away (gRPC); 0: none.")
    grpc_cert: Path | None = Field(
        None, description="File with the certificate (PEM, with its chain) to encrypt that with. Unset: in clear."
    )
    grpc_key: Path | None = Field(None, description="File with the key (PEM) of that certificate.")
    public_url: str = Field(
        "",
        description="How people reach this server; used in links of messages and for the sign-in cookie. "
        "Empty: made from host and port.",
    )
    location: str = Field("local", min_length=1, max_length=60, description="The vantage point checks run from.")
    aggregator_url: str = Field(
        "",
        description="For a worker that does not reach the database: the aggregator it reports to, `grpc://host:4317`, "
        "or `grpcs://…` over TLS.",
    )
    aggregator_key: SecretStr | None = Field(None, description="The worker's API key there, with the scope `probe`.")
    aggregator_ca: Path | None = Field(
        None, description="File with the authority (PEM) to trust there instead of the system's."
    )
    spool_mb: int = Field(
        512, ge=1, le=1_000_000, description="What such a worker keeps on disk at most while it is cut off, in MB."
    )

    collect: bool = Field(
        True, description="`tocsin up` collects the figures of the machine it runs on, as a collector there would."
    )
    machine_id: str = Field(
        "",
        max_length=200,
        description="What this machine is known by. Empty: made of the system's `/etc/machine-id`, else kept in the "
        "data directory.",
    )

    edge_url: str = Field(
        "", description="The public relay this server feeds, `wss://host` (or `ws://`, in clear). Empty: none."
    )
    edge_key: SecretStr | None = Field(
        None, min_length=16, description="The key a gateway shows to the public relay; the same at both ends."
    )
    edge_fields: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description=f"What the public relay is given. Empty: {', '.join(fields.SAFE)}."
    )

    admin_password: SecretStr | None = Field(
        None,
        min_length=8,
        description="Password of `admin` on first start. Unset: one is made and printed once.",
    )
    secret_key: SecretStr | None = Field(
        None, min_length=16, description="Encrypts stored secrets. Unset: a key file in the data directory."
    )
    metrics_public: bool = Field(False, description="Serve `/metrics` without a key.")

    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="`auto`: text on a terminal, JSON elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")

    max_concurrent_checks: int = Field(
        5000,
        ge=1,
        le=100_000,
        description="Checks under way at once; bounded by the open-file limit as well.",
    )
    result_buffer: int = Field(
        200_000, ge=1000, description="Checks held in memory while the database cannot be written."
    )
    canary: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="`host:port` addresses that answer whenever this machine has its network. When most targets "
        "fail at once and these fail too, nothing is recorded as down. Empty: looks whether a network interface is up.",
    )
    allowed_networks: Annotated[tuple[IpNetwork, ...], NoDecode] = Field(
        (), description="Networks that may be contacted although blocked by default."
    )
    blocked_networks: Annotated[tuple[IpNetwork, ...], NoDecode] = Field(
        (), description="Networks that may not be contacted, beside cloud metadata and link-local addresses."
    )
    resolvers: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="DNS servers (`address` or `address:port`) for looking names up. Empty: the system's."
    )

    keep_checks_days: float = Field(7, gt=0, description="Single checks and their evidence are kept this long.")
    pack_checks_after_days: float = Field(
        1,
        ge=0,
        description="Days of single checks that have been over for this long are packed into a tenth of the room.",
    )
    keep_hours_days: float = Field(400, gt=0, description="Hourly rollups are kept this long.")
    keep_days_days: float = Field(1826, gt=0, description="Daily rollups are kept this long.")
    keep_samples_hours: float = Field(24, gt=0, description="Single samples of machines are kept this long.")
    keep_sample_minutes_days: float = Field(7, gt=0, description="Their minutes are kept this long.")
    keep_sample_hours_days: float = Field(90, gt=0, description="Their hours are kept this long.")
    archive_url: str = Field(
        "",
        description="Where samples of machines are written as Parquet before they are dropped: a folder or "
        "`s3://bucket/prefix`. What is not there is not dropped. Empty: nowhere.",
    )
    s3_endpoint: str = Field("", description="`http(s)://host` of the S3 service. Empty: that of Amazon.")
    s3_region: str = Field("", description="Region of the bucket. Empty: as `AWS_REGION` says, else `us-east-1`.")
    s3_access_key: str = Field(
        "", description="Key to sign in to S3 with. Empty: as `AWS_*` or the machine's role says."
    )
    s3_secret_key: SecretStr | None = Field(None, description="The secret that belongs to it.")
    s3_path_style: bool = Field(
        True, description="`https://host/bucket` (most services of one's own); off: `https://bucket.host`."
    )
    keep_notifications_days: float = Field(90, gt=0, description="Delivered messages are kept this long.")

    @field_validator("canary", "allowed_networks", "blocked_networks", "resolvers", "edge_fields", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        if isinstance(value, str):
            return [word.strip() for word in value.split(",") if word.strip()]
        return value

    @field_validator("canary")
    @classmethod
    def _host_and_port(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            host, _, port = address.rpartition(":")
            if not host or not port.isdigit():
                raise ValueError("each must be host:port")
        return value

    @field_validator("location")
    @classmethod
    def _one_that_targets_can_name(cls, value: str) -> str:
        value = value.strip()
        if not value or "/" in value or not value.isprintable():
            raise ValueError("must be a name on one line, without a slash")
        return value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in ("sqlite", "postgresql", "postgres"):
            raise ValueError("must start with sqlite:/// or postgresql://")
        return value

    @field_validator("bus_url")
    @classmethod
    def _known_bus(cls, value: str) -> str:
        if value and not value.startswith(_BUSES):
            raise ValueError("must start with memory://, postgres://, redis://, rediss:// or unix://")
        try:
            _ = urlsplit(value).port
        except ValueError:
            raise ValueError("names no port; / and # in a password are written %2F and %23") from None
        return value

    @field_validator("aggregator_url")
    @classmethod
    def _known_aggregator(cls, value: str) -> str:
        if not value:
            return value
        parts = urlsplit(value)
        try:
            fits = parts.scheme in ("grpc", "grpcs") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # no port there is
            fits = False
        if not fits or parts.path.strip("/") or parts.query or parts.username is not None:
            raise ValueError("must be grpc://host:port or grpcs://host:port")
        return value

    @field_validator("archive_url")
    @classmethod
    def _known_archive(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("", "file", "s3") or (parts.scheme == "s3" and not parts.netloc):
            raise ValueError("must be a folder or s3://bucket/prefix")
        return value

    @field_validator("s3_endpoint")
    @classmethod
    def _known_endpoint(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.netloc or parts.username is not None):
            raise ValueError("must be http://host or https://host")
        return value.rstrip("/")

    @field_validator("edge_url")
    @classmethod
    def _known_edge(cls, value: str) -> str:
        if not value:
            return value
        parts = urlsplit(value)
        try:
            fits = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # no port there is
            fits = False
        if not fits or parts.query or parts.fragment or parts.username is not None:
            raise ValueError("must be wss://host[:port] or ws://host[:port]")
        return value

    @field_validator("edge_fields")
    @classmethod
    def _fields_that_may_leave(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        fields.Chosen.of(value)
        return value

    @field_validator("public_url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in ("http", "https"):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _bus_over_what(self) -> Settings:
        if self.bus in ("postgres://", "postgresql://") and self.database.startswith("sqlite"):
            raise ValueError("bus_url postgres:// without a host means the database, and that is no PostgreSQL")
        return self

    @model_validator(mode="after")
    def _certificate_with_its_key(self) -> Settings:
        if (self.grpc_cert is None) != (self.grpc_key is None):
            raise ValueError("grpc_cert and grpc_key go together")
        return self

    @model_validator(mode="after")
    def _key_for_the_aggregator(self) -> Settings:
        if self.aggregator_url and self.aggregator_key is None:
            raise ValueError("aggregator_url needs aggregator_key: tocsin keys create NAME --scope probe makes one")
        return self

    @model_validator(mode="after")
    def _key_for_the_edge(self) -> Settings:
        if self.edge_url and self.edge_key is None:
            raise ValueError("edge_url needs edge_key, the key that the relay there was started with")
        return self

    @model_validator(mode="after")
    def _tiers_in_order(self) -> Settings:
        if not self.keep_checks_days <= self.keep_hours_days <= self.keep_days_days:
            raise ValueError("keep_checks_days, keep_hours_days and keep_days_days must grow in this order")
        if not self.keep_samples_hours / 24 <= self.keep_sample_minutes_days <= self.keep_sample_hours_days:
            raise ValueError(
                "keep_samples_hours, keep_sample_minutes_days and keep_sample_hours_days must grow in this order"
            )
        return self

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{(self.data_dir / 'tocsin.db').resolve()}"

    @property
    def bus(self) -> str:
        return self.bus_url or ("memory://" if self.database.startswith("sqlite") else "postgres://")

    @property
    def address(self) -> str:
        """The web server's own address, as people type it."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104 - read, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def link_base(self) -> str:
        return self.public_url or self.address

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
