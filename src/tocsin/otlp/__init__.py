"""Between OTLP, the protocol of OpenTelemetry, and machines with their samples.

Knows no network. https://opentelemetry.io/docs/specs/otlp/
"""
