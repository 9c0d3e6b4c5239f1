"""The versions of the schema. They are never edited once released."""
