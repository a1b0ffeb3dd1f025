"""What all commands share: --json and --url anywhere on the line, and errors as one sentence and an exit code."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from aitbc.errors import AitbcError, BadRequest, Invalid, LedgerAway, Misconfigured, NotFound

if TYPE_CHECKING:
    from aitbc.client import Client
    from aitbc.settings import Settings

TASK_FAILED, USAGE, NOT_FOUND, AUTH, CONFLICT = 1, 2, 3, 4, 5
UNREACHABLE, FAULT, TRY_LATER, WAIT_TIMED_OUT, INTERRUPTED = 69, 70, 75, 124, 130

_BY_STATUS = {
    400: USAGE,
    413: USAGE,
    422: USAGE,
    401: AUTH,
    403: AUTH,
    404: NOT_FOUND,
    409: CONFLICT,
    410: CONFLICT,
    429: TRY_LATER,
    503: TRY_LATER,
}
_JSON, _URL = "aitbc.json", "aitbc.url"
_DEFAULT_URL = "http://127.0.0.1:9001"


def _keep(ctx: click.Context, param: click.Parameter, value: object) -> None:
    if value:
        ctx.meta[f"aitbc.{param.name}"] = value


def _shared_options(envvar: str | None = None) -> list[click.Parameter]:
    return [
        click.Option(["--json"], is_flag=True, expose_value=False, callback=_keep, help="Print JSON."),
        click.Option(
            ["--url"],
            envvar=envvar,
            show_envvar=envvar is not None,
            expose_value=False,
            callback=_keep,
            metavar="URL",
            help=f"The coordinator; {_DEFAULT_URL} when not given.",
        ),
    ]


class Verb(click.Command):
    """A command that takes --json and --url."""

    def __init__(self, name: str | None = None, *, params: Sequence[click.Parameter] | None = None, **kwargs: Any) -> None:
        """As click.Command."""
        super().__init__(name, params=[*(params or ()), *_shared_options()], **kwargs)


class Noun(click.Group):
    """A group of verbs; takes --json and --url before them too."""

    command_class = Verb

    def __init__(self, name: str | None = None, *, params: Sequence[click.Parameter] | None = None, **kwargs: Any) -> None:
        """As click.Group."""
        super().__init__(name, params=[*(params or ()), *_shared_options(self.url_variable)], **kwargs)

    url_variable: str | None = None


class Root(Noun):
    """The group at the top: every error of ours ends here as one line on stderr and an exit code."""

    url_variable = "AITBC_URL"

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except AitbcError as exc:
            click.echo(f"aitbc: {exc}", err=True)
            ctx.exit(exit_code(exc))
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


def exit_code(exc: AitbcError) -> int:
    """The exit code that an error stands for."""
    from aitbc.client import ApiError, Unreachable, WaitTimedOut

    if isinstance(exc, ApiError):
        return _BY_STATUS.get(exc.status, FAULT)
    kinds = {
        Unreachable: UNREACHABLE,
        LedgerAway: UNREACHABLE,
        WaitTimedOut: WAIT_TIMED_OUT,
        NotFound: NOT_FOUND,
        **dict.fromkeys((BadRequest, Invalid, Misconfigured), USAGE),
    }
    return next((code for kind, code in kinds.items() if isinstance(exc, kind)), FAULT)


def wants_json() -> bool:
    """--json was given somewhere on the line."""
    return bool(click.get_current_context().meta.get(_JSON))


def url() -> str:
    """The coordinator: --url, else AITBC_URL, else the default."""
    found: str = click.get_current_context().meta.get(_URL, _DEFAULT_URL)
    return found


def client() -> "Client":
    """The coordinator's client, with the key of AITBC_API_KEY, else this node's own."""
    from aitbc.client import Client

    return Client(url(), api_key=api_key())


def api_key() -> str:
    """The key to send: AITBC_API_KEY or AITBC_API_KEY_FILE; else, to this node's own API and no other, AITBC_ADMIN_KEY."""
    from aitbc.settings import Settings, client_key

    return client_key() or ("" if _URL in click.get_current_context().meta else Settings.load().admin_key)


def node_settings() -> "Settings":
    """This node's settings; when REDIS_URL is not given, the embedded Redis of an `aitbc up` that runs in this directory goes first."""
    from aitbc.embedded import running_url
    from aitbc.settings import Settings

    settings = Settings.load()
    embedded = running_url(settings.var) if settings.redis_url == Settings().redis_url else ""
    return replace(settings, redis_url=embedded or settings.redis_url)
