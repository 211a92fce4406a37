"""The API's OpenAPI document, built from the models that the functions decode requests with."""
