"""Logs: lines for people, or JSON objects for programs."""

from __future__ import annotations

import logging.config
from typing import Any

from trackflow_server.config import ServerConfig

_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"


def settings_of(config: ServerConfig) -> dict[str, Any]:
    """For `logging.config.dictConfig`, on standard error."""
    formatters: dict[str, Any] = {
        "text": {"format": _FIELDS},
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": _FIELDS,
            "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        },
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"chosen": formatters[config.log_format]},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "chosen"}},
        "root": {"level": config.log_level.upper(), "handlers": ["stderr"]},
        "loggers": {
            # Its own lines on starting are about its workings.
            "_granian": {"level": "WARNING", "propagate": True, "handlers": []},
            "alembic": {"level": "WARNING"},
        },
    }


def configure(config: ServerConfig) -> None:
    """Write logs as the configuration says."""
    logging.config.dictConfig(settings_of(config))
