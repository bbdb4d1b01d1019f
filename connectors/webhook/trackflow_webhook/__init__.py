"""Signed JSON webhooks as TrackFlow leads and deals, by Standard Webhooks 1.0."""

from trackflow_webhook.connector import GenericWebhook
from trackflow_webhook.signature import MAX_BODY_BYTES, TOLERANCE, new_secret, sign

__all__ = ["MAX_BODY_BYTES", "TOLERANCE", "GenericWebhook", "new_secret", "sign"]
