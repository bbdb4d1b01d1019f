"""The REST API of every host, without a web framework: keys, limits, routes, schemas, OpenAPI."""
