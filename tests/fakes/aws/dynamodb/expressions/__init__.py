"""DynamoDB's expression language."""
