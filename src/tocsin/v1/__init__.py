"""The messages of proto/tocsin/v1, made by scripts/proto.sh. Only ``wire`` and those who send them may know them."""
