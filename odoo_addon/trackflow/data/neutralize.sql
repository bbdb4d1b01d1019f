-- A copy of the database must not accept the calls of the real CRMs.
UPDATE trackflow_connector SET secret_encrypted = NULL;
