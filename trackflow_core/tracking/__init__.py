"""From a request to a touch. Pure functions; attribution is not known here."""
