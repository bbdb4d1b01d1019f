-- A copy of the database must neither accept the calls of the real CRMs nor call them.
UPDATE trackflow_connector
   SET secret_encrypted = NULL, option_secrets_encrypted = NULL, polling = FALSE, write_back = FALSE;

-- Nor tell the real receivers of webhooks what is done in it.
UPDATE trackflow_webhook_endpoint
   SET secrets_encrypted = NULL, active = FALSE;
