"""One module a schema; its revision is the schema's number."""
