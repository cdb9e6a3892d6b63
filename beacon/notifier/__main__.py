"""Start the notifier: `python -m beacon.notifier`. Wiring only."""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing

from beacon import bus
from beacon.configuration import settings
from beacon.notifier import test_event, wiring
from beacon.notifier.delivery import dispatch, endpoint, guarded_endpoint, in_flight_marks, telemetry, window
from beacon.notifier.transport import auth_token, event_loop, http_sender, masking, route
from beacon.runtime import log, process

Beat = Callable[[], None]
Connect = Callable[[Beat], bus.Client]


def main(context: process.Context) -> None:
    """Deliver until the process is asked to stop."""
    with closing(context.heartbeat("claims")) as claims:
        where = bus.address(context.run_dir)
        deliver(context, lambda beat: bus.Client(where, stop=context.stop, on_beat=beat), claims.beat)


def deliver(context: process.Context, connect: Connect, beat: Beat) -> None:
    """Deliver the store's events, with the configuration that the store returns."""
    with connect(beat) as client:
        tree = settings.from_plain(process.obtain_settings(context, client))
        ledger = client.ledger
    only = tree.endpoint if len(tree.endpoints) == 1 else None
    recorders = {one.name: _telemetry(context, one, is_only=only is not None) for one in tree.endpoints}
    token = auth_token.AuthToken(
        value=os.environ.get("ENDPOINT_AUTH_TOKEN", "") if only else "",
        file=os.environ.get("ENDPOINT_AUTH_TOKEN_FILE", "") if only else "",
        on_new=lambda secret: conceal(masking.forms((secret,))),
    )
    plain = functools.partial(bus.Client, bus.address(context.run_dir), stop=context.stop)  # without a heartbeat
    context.spawn("test-events", lambda: test_event.serve(plain, tree, os.environ, context.stop))
    if only:
        token.wait(context.stop, beat=beat, on_wait=recorders[only.name].held_back)
    _serve(context, tree, connect, beat, recorders=recorders, token=token, ledger=ledger)


def _serve(
    context: process.Context,
    tree: settings.Settings,
    connect: Connect,
    beat: Beat,
    *,
    recorders: Mapping[str, telemetry.Telemetry],
    token: auth_token.AuthToken,
    ledger: str,
) -> None:
    with contextlib.ExitStack() as at_end:
        loop = at_end.enter_context(closing(event_loop.EventLoop()))
        senders: list[http_sender.HttpSender] = []
        served: list[guarded_endpoint.GuardedEndpoint] = []
        for one in tree.endpoints:
            recorder = recorders[one.name]
            at_end.callback(recorder.finish)
            marks = at_end.enter_context(_open_marks(context, wiring.width_of(tree, one), one, ledger))
            sender = http_sender.HttpSender(
                wiring.target_of(tree, one),
                token=token.token,
                loop=loop,
                start=context.spawn,
                listener=route.RouteListener(
                    tls_error=recorder.tls_failed,
                    proxy_error=recorder.proxy_failed,
                    auth_error=recorder.auth_failed,
                    secrets=conceal,
                    forgotten=forget,
                    token_fetched=recorder.token_fetched,
                ),
                on_fault=recorder.faulted,
            )
            senders.append(at_end.enter_context(closing(sender)))
            conceal(sender.secrets)
            delivery = endpoint.EndpointDelivery(
                wiring.config_of(tree, one), sender, stop=context.stop, telemetry=recorder, marks=marks
            )
            served.append(guarded_endpoint.GuardedEndpoint(delivery, telemetry=recorder))
        beat_unless_stuck = functools.partial(beat_unless, lambda: all_are_stuck(senders), beat)
        dispatcher = dispatch.Dispatcher(
            served, loop=loop, connect=lambda: connect(beat_unless_stuck), stop=context.stop, ledger=ledger
        )
        context.stop.wakes(dispatcher.wake)
        dispatcher.run()


def _telemetry(context: process.Context, one: settings.EndpointSettings, *, is_only: bool) -> telemetry.Telemetry:
    """Return an endpoint's telemetry; of several endpoints each has reports of its own."""
    if one.tls.insecure_skip_verify:
        log.get().warning("certificate verification disabled", endpoint=one.name)
    report = functools.partial(context.report, part="" if is_only else one.name)
    return telemetry.Telemetry(one.name, report=report, logger=log.get().bind())


def _open_marks(
    context: process.Context, width: int, one: settings.EndpointSettings, ledger: str
) -> contextlib.AbstractContextManager[in_flight_marks.Marks]:
    return in_flight_marks.open_marks(
        context.run_dir / in_flight_marks.file_name(one.name),
        most=window.most_marks(width),
        ledger=ledger,
        failed=lambda: bool(context.failure),
    )


def all_are_stuck(senders: Iterable[http_sender.HttpSender]) -> bool:
    """Return True if every endpoint has a thread that is stuck: a new process may help, and holds up no endpoint."""
    now = time.monotonic()
    return all(sender.is_stuck(now) for sender in senders)


def beat_unless(is_stuck: Callable[[], bool], beat: Beat) -> None:
    """Write a heartbeat, unless the threads that open connections stay stuck."""
    if not is_stuck():
        beat()


def conceal(secrets: Iterable[str]) -> None:
    """Mask secrets in all later log lines."""
    for secret in secrets:
        log.register_secret(secret)


def forget(secrets: Iterable[str]) -> None:
    """Mask secrets no longer."""
    for secret in secrets:
        log.forget_secret(secret)


if __name__ == "__main__":
    process.run("notifier", main)
