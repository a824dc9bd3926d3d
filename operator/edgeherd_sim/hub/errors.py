"""What the hub refuses, by the names and numbers that Microsoft's clients know."""

from typing import Final

CODES: Final[dict[str, tuple[int, int]]] = {
    "GenericBadRequest": (400, 400000),
    "InvalidProtocolVersion": (400, 400001),
    "InvalidOperation": (400, 400003),
    "ArgumentInvalid": (400, 400004),
    "ArgumentNull": (400, 400005),
    "IotHubFormatError": (400, 400006),
    "DeviceDefinedMultipleTimes": (400, 400011),
    "DeserializationError": (400, 400012),
    "BulkRegistryOperationFailure": (400, 400013),
    "InvalidDeviceScope": (400, 400028),
    "CannotRegisterModuleToModule": (400, 400301),
    "InvalidConfigurationTargetCondition": (400, 400401),
    "InvalidConfigurationContent": (400, 400402),
    "DeviceAuthenticationTypeIsMissing": (400, 400000),
    "IotHubNotFound": (401, 401001),
    "IotHubUnauthorizedAccess": (401, 401002),
    "IotHubUnauthorized": (401, 401003),
    "IotHubSuspended": (403, 403001),
    "IotHubQuotaExceeded": (403, 403002),
    "DeviceNotFound": (404, 404001),
    "ModuleNotFound": (404, 404010),
    "ConfigurationNotFound": (404, 404000),
    "DeviceNotOnline": (404, 404103),
    "ResourceNotFound": (404, 404000),
    "MethodNotAllowed": (405, 405000),
    "DeviceAlreadyExists": (409, 409001),
    "ModuleAlreadyExistsOnDevice": (409, 409301),
    "ConfigurationAlreadyExists": (409, 409000),
    "ApplyConfigurationAlreadyInProgressOnDevice": (409, 409402),
    "PreconditionFailed": (412, 412001),
    "MessageTooLarge": (413, 413001),
    "TooManyDevices": (413, 413002),
    "TooManyModulesOnDevice": (413, 413003),
    "ConfigurationCountLimitExceeded": (413, 413101),
    "GenericTooManyRequests": (429, 429000),
    "ThrottlingException": (429, 429001),
    "ThrottleBacklogLimitExceeded": (429, 429002),
    "ThrottlingBacklogTimeout": (429, 429003),
    "ServerError": (500, 500001),
    "BadGateway": (502, 502000),
    "ServiceUnavailable": (503, 503001),
    "PartitionNotFound": (503, 503003),
    "ServerBusy": (503, 503005),
    "GatewayTimeout": (504, 504000),
}
"""Error name to HTTP status and Microsoft's number. The name travels in the header `iothub-errorcode`."""


class HubError(Exception):
    """The hub refuses: `code` is one of CODES, `message` what follows it in the body."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status."""
        return CODES[self.code][0]

    @property
    def number(self) -> int:
        """Microsoft's six-digit number."""
        return CODES[self.code][1]


def invalid(message: str) -> HubError:
    """A request that breaks a rule of the registry."""
    return HubError("ArgumentInvalid", message)
