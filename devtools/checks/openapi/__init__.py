"""The API's OpenAPI document, generated from the models of requests and answers."""
