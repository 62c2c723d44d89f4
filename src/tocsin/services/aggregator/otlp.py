"""What OpenTelemetry Collectors and SDKs export over gRPC, on the port that our own collectors use.

https://opentelemetry.io/docs/specs/otlp/#otlpgrpc
"""

from __future__ import annotations

from typing import Final, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import DESCRIPTOR

from tocsin.lib import metrics
from tocsin.lib.log import get_logger
from tocsin.otlp.door import Door, Throttled, Unreadable
from tocsin.services.aggregator.answers import OUR_FAULT, Code, Context
from tocsin.services.aggregator.doorkeeper import Doorkeeper

SERVICE: Final = DESCRIPTOR.services_by_name["MetricsService"]
CALL: Final = "Export"
DETAILS: Final = "grpc-status-details-bin"
"""In trailing metadata: a google.rpc.Status."""

_OK: Final = metrics.REMOTE_CALLS.labels(CALL, "ok")
log = get_logger("aggregator")


class Otlp:
    def __init__(self, *, door: Door, doorkeeper: Doorkeeper) -> None:
        self._door = door
        self._doorkeeper = doorkeeper

    def handlers(self) -> grpc.GenericRpcHandler:
        """Exports come as bytes, and mostly are read as such."""
        return grpc.method_handlers_generic_handler(
            SERVICE.full_name, {CALL: grpc.unary_unary_rpc_method_handler(self._export)}
        )

    async def _export(self, body: bytes, context: Context) -> bytes:
        try:
            answer = await self._door.export(body, self._doorkeeper.identity_of(context).key_id)
        except Unreadable as error:
            violation = BadRequest.FieldViolation(field="request", description=str(error))
            await _refuse(context, Code.INVALID_ARGUMENT, str(error), BadRequest(field_violations=[violation]))
        except Throttled as throttled:
            await _refuse(context, Code.UNAVAILABLE, str(throttled), retry_info(throttled.retry_after_s))
        except Exception:
            log.exception("an export failed")
            metrics.OTLP_EXPORTS.labels("refused").inc()
            await OUR_FAULT.answer(CALL, context)
        _OK.inc()
        return answer


def retry_info(after_s: float) -> RetryInfo:
    told = RetryInfo()
    told.retry_delay.FromMilliseconds(round(after_s * 1000))
    return told


async def _refuse(context: Context, code: Code, words: str, detail: Message) -> NoReturn:
    metrics.REMOTE_CALLS.labels(CALL, code.name.lower()).inc()
    metrics.OTLP_EXPORTS.labels("throttled" if code is Code.UNAVAILABLE else "refused").inc()
    packed = AnyMessage()
    packed.Pack(detail)
    number: int = code.value[0]
    status = Status(code=number, message=words, details=[packed])
    await context.abort(code, words, ((DETAILS, status.SerializeToString()),))
