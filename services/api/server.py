"""How does the REST service listen, and to whom?"""

from ipaddress import ip_address

from services.errors import UsageError
from services.settings import Settings


def is_loopback(host: str) -> bool:
    """True when only this machine reaches the address; a name other than localhost counts as reachable."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def serve(
    settings: Settings, *, host: str = "127.0.0.1", port: int = 8000, allow_unauthenticated: bool = False
) -> None:
    """Serves the API until it is interrupted; logging is the caller's.

    There are no users yet, so whoever reaches the port reads every finding. Other machines reach it only when the
    operator says so; then a proxy in front must know who asks.

    Raises:
        UsageError: The address is reachable from other machines and `allow_unauthenticated` is not given.
        DatabaseUnusable: The database cannot be opened or is not at the expected version.
    """
    if not is_loopback(host) and not allow_unauthenticated:
        raise UsageError(
            f"{host} can be reached from other machines and this service asks nobody who they are. Listen on "
            "127.0.0.1, or add --allow-unauthenticated when a proxy in front checks users."
        )
    import uvicorn

    from services.api.app import create_app
    from services.api.request_context import LOOPBACK_HOSTS

    app = create_app(settings, hosts=None if allow_unauthenticated else LOOPBACK_HOSTS)
    uvicorn.run(app, host=host, port=port, log_config=None, access_log=False, server_header=False)
