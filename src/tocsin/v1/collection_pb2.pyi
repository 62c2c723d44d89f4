from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_GAUGE: _ClassVar[Kind]
    KIND_COUNTER: _ClassVar[Kind]
KIND_UNSPECIFIED: Kind
KIND_GAUGE: Kind
KIND_COUNTER: Kind

class Report(_message.Message):
    __slots__ = ("hello", "layout", "tick")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    TICK_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    layout: Layout
    tick: Tick
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., layout: _Optional[_Union[Layout, _Mapping]] = ..., tick: _Optional[_Union[Tick, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("machine_id", "boot_id", "name", "version", "every_ms", "facts", "tags", "sent_at_ms")
    class FactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MACHINE_ID_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EVERY_MS_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    SENT_AT_MS_FIELD_NUMBER: _ClassVar[int]
    machine_id: str
    boot_id: str
    name: str
    version: str
    every_ms: int
    facts: _containers.ScalarMap[str, str]
    tags: _containers.RepeatedScalarFieldContainer[str]
    sent_at_ms: int
    def __init__(self, machine_id: _Optional[str] = ..., boot_id: _Optional[str] = ..., name: _Optional[str] = ..., version: _Optional[str] = ..., every_ms: _Optional[int] = ..., facts: _Optional[_Mapping[str, str]] = ..., tags: _Optional[_Iterable[str]] = ..., sent_at_ms: _Optional[int] = ...) -> None: ...

class Layout(_message.Message):
    __slots__ = ("id", "series")
    ID_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    id: int
    series: _containers.RepeatedCompositeFieldContainer[Series]
    def __init__(self, id: _Optional[int] = ..., series: _Optional[_Iterable[_Union[Series, _Mapping]]] = ...) -> None: ...

class Series(_message.Message):
    __slots__ = ("name", "attributes", "unit", "kind", "start_ms")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    START_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    attributes: _containers.ScalarMap[str, str]
    unit: str
    kind: Kind
    start_ms: int
    def __init__(self, name: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., unit: _Optional[str] = ..., kind: _Optional[_Union[Kind, str]] = ..., start_ms: _Optional[int] = ...) -> None: ...

class Tick(_message.Message):
    __slots__ = ("boot_id", "seq", "at_ms", "sent_at_ms", "layout_id", "values", "processes")
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    SENT_AT_MS_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_ID_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    boot_id: str
    seq: int
    at_ms: int
    sent_at_ms: int
    layout_id: int
    values: bytes
    processes: _containers.RepeatedCompositeFieldContainer[Process]
    def __init__(self, boot_id: _Optional[str] = ..., seq: _Optional[int] = ..., at_ms: _Optional[int] = ..., sent_at_ms: _Optional[int] = ..., layout_id: _Optional[int] = ..., values: _Optional[bytes] = ..., processes: _Optional[_Iterable[_Union[Process, _Mapping]]] = ...) -> None: ...

class Process(_message.Message):
    __slots__ = ("pid", "name", "user", "cpu", "memory_bytes")
    PID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    pid: int
    name: str
    user: str
    cpu: float
    memory_bytes: int
    def __init__(self, pid: _Optional[int] = ..., name: _Optional[str] = ..., user: _Optional[str] = ..., cpu: _Optional[float] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("boot_id", "acked_seq", "retry_after_s", "now_ms")
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    ACKED_SEQ_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    boot_id: str
    acked_seq: int
    retry_after_s: float
    now_ms: int
    def __init__(self, boot_id: _Optional[str] = ..., acked_seq: _Optional[int] = ..., retry_after_s: _Optional[float] = ..., now_ms: _Optional[int] = ...) -> None: ...
