"""What the API server's refusals mean to the operator."""


class ApiError(Exception):
    """The API server refused or could not be reached. `status` is the HTTP status, 0 without an answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}" if status else message)
        self.status = status
        self.message = message


class ConflictError(ApiError):
    """The object was changed meanwhile (409, or a JSON patch that does not fit it any more): read again."""


class ContentRefusedError(ApiError):
    """The API server does not take the content of the request, however often it is sent."""


class ForbiddenError(ApiError):
    """The operator's ServiceAccount may not do this (403)."""
