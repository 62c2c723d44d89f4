from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Result(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESULT_UNSPECIFIED: _ClassVar[Result]
    RESULT_FAILED: _ClassVar[Result]
    RESULT_PASSED: _ClassVar[Result]
    RESULT_WARNED: _ClassVar[Result]
    RESULT_UNMEASURED: _ClassVar[Result]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_UP: _ClassVar[Verdict]
    VERDICT_DEGRADED: _ClassVar[Verdict]
    VERDICT_DOWN: _ClassVar[Verdict]
    VERDICT_UNKNOWN: _ClassVar[Verdict]
RESULT_UNSPECIFIED: Result
RESULT_FAILED: Result
RESULT_PASSED: Result
RESULT_WARNED: Result
RESULT_UNMEASURED: Result
VERDICT_UNSPECIFIED: Verdict
VERDICT_UP: Verdict
VERDICT_DEGRADED: Verdict
VERDICT_DOWN: Verdict
VERDICT_UNKNOWN: Verdict

class Worker(_message.Message):
    __slots__ = ("id", "life", "location", "name", "version", "clock_off_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    LIFE_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CLOCK_OFF_MS_FIELD_NUMBER: _ClassVar[int]
    id: str
    life: str
    location: str
    name: str
    version: str
    clock_off_ms: int
    def __init__(self, id: _Optional[str] = ..., life: _Optional[str] = ..., location: _Optional[str] = ..., name: _Optional[str] = ..., version: _Optional[str] = ..., clock_off_ms: _Optional[int] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("worker", "give_back", "first", "steady")
    class GiveBackEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    WORKER_FIELD_NUMBER: _ClassVar[int]
    GIVE_BACK_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    STEADY_FIELD_NUMBER: _ClassVar[int]
    worker: Worker
    give_back: _containers.ScalarMap[int, int]
    first: bool
    steady: bool
    def __init__(self, worker: _Optional[_Union[Worker, _Mapping]] = ..., give_back: _Optional[_Mapping[int, int]] = ..., first: _Optional[bool] = ..., steady: _Optional[bool] = ...) -> None: ...

class RenewResponse(_message.Message):
    __slots__ = ("location_id", "epochs", "leaving", "now_ms", "for_s", "since")
    class EpochsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    class SinceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    LOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    FOR_S_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    location_id: int
    epochs: _containers.ScalarMap[int, int]
    leaving: _containers.RepeatedScalarFieldContainer[int]
    now_ms: int
    for_s: float
    since: _containers.ScalarMap[int, int]
    def __init__(self, location_id: _Optional[int] = ..., epochs: _Optional[_Mapping[int, int]] = ..., leaving: _Optional[_Iterable[int]] = ..., now_ms: _Optional[int] = ..., for_s: _Optional[float] = ..., since: _Optional[_Mapping[int, int]] = ...) -> None: ...

class LoadRequest(_message.Message):
    __slots__ = ("worker", "shards", "since_revision")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    SINCE_REVISION_FIELD_NUMBER: _ClassVar[int]
    worker: Worker
    shards: _containers.RepeatedScalarFieldContainer[int]
    since_revision: int
    def __init__(self, worker: _Optional[_Union[Worker, _Mapping]] = ..., shards: _Optional[_Iterable[int]] = ..., since_revision: _Optional[int] = ...) -> None: ...

class LoadResponse(_message.Message):
    __slots__ = ("targets", "removed", "revision", "complete")
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedCompositeFieldContainer[Target]
    removed: _containers.RepeatedScalarFieldContainer[int]
    revision: int
    complete: bool
    def __init__(self, targets: _Optional[_Iterable[_Union[Target, _Mapping]]] = ..., removed: _Optional[_Iterable[int]] = ..., revision: _Optional[int] = ..., complete: _Optional[bool] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("id", "name", "slug", "kind", "settings", "interval_ms", "timeout_ms", "recheck_ms", "enabled", "tags", "group", "assertions", "policy", "certificate_warning_days", "description", "created_ms", "updated_ms", "revision")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SLUG_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    RECHECK_MS_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    ASSERTIONS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_WARNING_DAYS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_MS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    slug: str
    kind: str
    settings: bytes
    interval_ms: int
    timeout_ms: int
    recheck_ms: int
    enabled: bool
    tags: _containers.RepeatedScalarFieldContainer[str]
    group: str
    assertions: _containers.RepeatedScalarFieldContainer[str]
    policy: Policy
    certificate_warning_days: int
    description: str
    created_ms: int
    updated_ms: int
    revision: int
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., slug: _Optional[str] = ..., kind: _Optional[str] = ..., settings: _Optional[bytes] = ..., interval_ms: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., recheck_ms: _Optional[int] = ..., enabled: _Optional[bool] = ..., tags: _Optional[_Iterable[str]] = ..., group: _Optional[str] = ..., assertions: _Optional[_Iterable[str]] = ..., policy: _Optional[_Union[Policy, _Mapping]] = ..., certificate_warning_days: _Optional[int] = ..., description: _Optional[str] = ..., created_ms: _Optional[int] = ..., updated_ms: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("failures_to_down", "passes_to_up", "warnings_to_degraded", "degraded_above_ms")
    FAILURES_TO_DOWN_FIELD_NUMBER: _ClassVar[int]
    PASSES_TO_UP_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_TO_DEGRADED_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_ABOVE_MS_FIELD_NUMBER: _ClassVar[int]
    failures_to_down: int
    passes_to_up: int
    warnings_to_degraded: int
    degraded_above_ms: float
    def __init__(self, failures_to_down: _Optional[int] = ..., passes_to_up: _Optional[int] = ..., warnings_to_degraded: _Optional[int] = ..., degraded_above_ms: _Optional[float] = ...) -> None: ...

class WriteRequest(_message.Message):
    __slots__ = ("worker", "entries")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    worker: Worker
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    def __init__(self, worker: _Optional[_Union[Worker, _Mapping]] = ..., entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ...) -> None: ...

class WriteResponse(_message.Message):
    __slots__ = ("settled",)
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    settled: _containers.RepeatedCompositeFieldContainer[Settled]
    def __init__(self, settled: _Optional[_Iterable[_Union[Settled, _Mapping]]] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("target_id", "rule", "at_ms", "result", "latency_us", "reason", "next_due_ms", "epoch", "check", "evidence", "chain")
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    LATENCY_US_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    NEXT_DUE_MS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    target_id: int
    rule: str
    at_ms: int
    result: Result
    latency_us: int
    reason: str
    next_due_ms: int
    epoch: int
    check: Check
    evidence: bytes
    chain: Chain
    def __init__(self, target_id: _Optional[int] = ..., rule: _Optional[str] = ..., at_ms: _Optional[int] = ..., result: _Optional[_Union[Result, str]] = ..., latency_us: _Optional[int] = ..., reason: _Optional[str] = ..., next_due_ms: _Optional[int] = ..., epoch: _Optional[int] = ..., check: _Optional[_Union[Check, _Mapping]] = ..., evidence: _Optional[bytes] = ..., chain: _Optional[_Union[Chain, _Mapping]] = ...) -> None: ...

class Check(_message.Message):
    __slots__ = ("dns_us", "connect_us", "tls_us", "first_byte_us", "transfer_us")
    DNS_US_FIELD_NUMBER: _ClassVar[int]
    CONNECT_US_FIELD_NUMBER: _ClassVar[int]
    TLS_US_FIELD_NUMBER: _ClassVar[int]
    FIRST_BYTE_US_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_US_FIELD_NUMBER: _ClassVar[int]
    dns_us: int
    connect_us: int
    tls_us: int
    first_byte_us: int
    transfer_us: int
    def __init__(self, dns_us: _Optional[int] = ..., connect_us: _Optional[int] = ..., tls_us: _Optional[int] = ..., first_byte_us: _Optional[int] = ..., transfer_us: _Optional[int] = ...) -> None: ...

class Chain(_message.Message):
    __slots__ = ("seen_ms", "expires_ms", "certificates")
    SEEN_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    seen_ms: int
    expires_ms: int
    certificates: _containers.RepeatedCompositeFieldContainer[Certificate]
    def __init__(self, seen_ms: _Optional[int] = ..., expires_ms: _Optional[int] = ..., certificates: _Optional[_Iterable[_Union[Certificate, _Mapping]]] = ...) -> None: ...

class Certificate(_message.Message):
    __slots__ = ("subject", "issuer", "names", "not_before", "not_after", "serial", "fingerprint")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    subject: str
    issuer: str
    names: _containers.RepeatedScalarFieldContainer[str]
    not_before: str
    not_after: str
    serial: str
    fingerprint: str
    def __init__(self, subject: _Optional[str] = ..., issuer: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., not_before: _Optional[str] = ..., not_after: _Optional[str] = ..., serial: _Optional[str] = ..., fingerprint: _Optional[str] = ...) -> None: ...

class Settled(_message.Message):
    __slots__ = ("target_id", "rule", "state")
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    target_id: int
    rule: str
    state: State
    def __init__(self, target_id: _Optional[int] = ..., rule: _Optional[str] = ..., state: _Optional[_Union[State, _Mapping]] = ...) -> None: ...

class State(_message.Message):
    __slots__ = ("verdict", "since_ms", "reason", "failures", "passes", "warnings", "clean", "run_since_ms", "pace_since_ms", "last_at_ms", "last_latency_us", "due_ms", "held")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    PASSES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    CLEAN_FIELD_NUMBER: _ClassVar[int]
    RUN_SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    PACE_SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    LAST_AT_MS_FIELD_NUMBER: _ClassVar[int]
    LAST_LATENCY_US_FIELD_NUMBER: _ClassVar[int]
    DUE_MS_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    verdict: Verdict
    since_ms: int
    reason: str
    failures: int
    passes: int
    warnings: int
    clean: int
    run_since_ms: int
    pace_since_ms: int
    last_at_ms: int
    last_latency_us: int
    due_ms: int
    held: bool
    def __init__(self, verdict: _Optional[_Union[Verdict, str]] = ..., since_ms: _Optional[int] = ..., reason: _Optional[str] = ..., failures: _Optional[int] = ..., passes: _Optional[int] = ..., warnings: _Optional[int] = ..., clean: _Optional[int] = ..., run_since_ms: _Optional[int] = ..., pace_since_ms: _Optional[int] = ..., last_at_ms: _Optional[int] = ..., last_latency_us: _Optional[int] = ..., due_ms: _Optional[int] = ..., held: _Optional[bool] = ...) -> None: ...

class LeaveRequest(_message.Message):
    __slots__ = ("worker", "give_back")
    class GiveBackEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    WORKER_FIELD_NUMBER: _ClassVar[int]
    GIVE_BACK_FIELD_NUMBER: _ClassVar[int]
    worker: Worker
    give_back: _containers.ScalarMap[int, int]
    def __init__(self, worker: _Optional[_Union[Worker, _Mapping]] = ..., give_back: _Optional[_Mapping[int, int]] = ...) -> None: ...

class LeaveResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
