"""The door for workers and collectors over gRPC."""

from tocsin.services.aggregator.server import Aggregator, AggregatorSettings, CannotListen

__all__ = ["Aggregator", "AggregatorSettings", "CannotListen"]
