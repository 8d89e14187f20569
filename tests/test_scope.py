"""Children live as long as the block, and one error comes out of it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Never

import pytest

from gateway.errors import GatewayError, LineDown, LinkDown
from gateway.scope import Scope, whose


async def forever() -> Never:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def failing(error: Exception) -> Never:
    raise error


async def failing_when_cancelled(error: Exception) -> Never:
    try:
        await forever()
    finally:
        raise error


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def cancellations() -> int:
    """That were asked of this task and are still to come or to be passed on."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def scope_of(*children: Coroutine[Any, Any, Any], block: Coroutine[Any, Any, Any]) -> None:
    async with Scope() as scope:
        for child in children:
            scope.start(child)
        await block


async def test_children_are_cancelled_when_the_block_is_left() -> None:
    async with Scope() as scope:
        children = [scope.start(forever()) for _ in range(3)]
        await turns(2)

    assert all(child.cancelled() for child in children)
    assert cancellations() == 0


async def test_leaving_waits_for_what_the_children_do_to_end() -> None:
    said = []

    async def goodbye() -> None:
        try:
            await forever()
        finally:
            await turns(5)
            said.append("goodbye")

    async with Scope() as scope:
        scope.start(goodbye())
        await turns(1)

    assert said == ["goodbye"]


async def test_a_child_that_ends_by_itself_ends_nothing_else() -> None:
    async with Scope() as scope:
        child = scope.start(asyncio.sleep(0, "done"), "short")
        other = scope.start(forever())
        assert child.get_name() == "short"
        assert await child == "done"
        await turns(3)
        assert not other.done()


async def test_a_childs_error_ends_the_block_and_the_other_children() -> None:
    other = asyncio.Event()

    async def sibling() -> None:
        try:
            await forever()
        finally:
            other.set()

    with pytest.raises(LineDown, match="gone"):
        await scope_of(sibling(), failing(LineDown("gone")), block=forever())

    assert other.is_set()
    assert cancellations() == 0


async def test_the_blocks_own_error_comes_out_as_it_is() -> None:
    refused = LinkDown("refused")
    with pytest.raises(LinkDown) as caught:
        await scope_of(forever(), block=failing(refused))

    assert caught.value is refused
    assert caught.traceback[-1].name == "failing"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("first", [LineDown("first"), KeyError("bug")])
@pytest.mark.parametrize("second", [LinkDown("second"), ValueError("another bug")])
async def test_a_bug_comes_before_an_expected_error_and_the_first_cause_before_later_ones(
    first: Exception, second: Exception
) -> None:
    bugs = [error for error in (first, second) if not isinstance(error, GatewayError)]
    with pytest.raises(Exception, match=r"first|bug") as caught:
        await scope_of(failing(first), failing(second), block=forever())

    assert caught.value is (bugs or [first])[0]


@pytest.mark.parametrize("later", [LinkDown("in cleanup"), LineDown("in cleanup")])
async def test_the_error_that_ended_the_block_is_the_cause_and_not_what_the_children_make_of_it(
    later: Exception,
) -> None:
    async def block() -> None:
        await turns(1)
        raise LinkDown("the cause")

    with pytest.raises(LinkDown, match="the cause"):
        await scope_of(failing_when_cancelled(later), block=block())


async def test_the_error_of_a_child_is_the_cause_and_not_what_the_block_makes_of_it() -> None:
    with pytest.raises(LineDown, match="the cause"):
        await scope_of(failing(LineDown("the cause")), block=failing_when_cancelled(LinkDown("in cleanup")))


async def test_of_scopes_in_scopes_comes_one_error_too() -> None:
    inner = scope_of(
        failing_when_cancelled(LinkDown("later")), failing(LineDown("the cause")), block=forever()
    )
    with pytest.raises(LineDown, match="the cause"):
        await scope_of(inner, block=forever())


async def test_an_error_while_the_children_end_comes_out_of_a_block_that_was_left_in_peace() -> None:
    with pytest.raises(LinkDown, match="in cleanup"):
        await scope_of(failing_when_cancelled(LinkDown("in cleanup")), block=turns(1))

    assert cancellations() == 0


async def test_cancellation_passes_through_and_ends_the_children() -> None:
    children = []

    async def block() -> None:
        async with Scope() as scope:
            children.append(scope.start(forever()))
            await forever()

    task = asyncio.create_task(block())
    await turns(3)
    task.cancel("by hand")
    with pytest.raises(asyncio.CancelledError, match="by hand"):
        await task

    assert children[0].cancelled()


async def test_cancellation_while_the_children_end_waits_for_them_and_passes_through() -> None:
    go_on = asyncio.Event()

    async def goodbye() -> None:
        try:
            await forever()
        finally:
            await go_on.wait()

    async def block() -> None:
        async with Scope() as scope:
            scope.start(goodbye())
            await turns(1)

    task = asyncio.create_task(block())
    await turns(5)
    task.cancel()
    await turns(5)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("apart", range(5))
async def test_a_child_that_fails_at_the_moment_of_cancellation_does_not_swallow_it(apart: int) -> None:
    """Else `supervise` would restart a part that was told to end."""
    lost = asyncio.get_running_loop().create_future()

    async def child() -> None:
        await lost

    async def block() -> None:
        async with Scope() as scope:
            scope.start(child())
            await forever()

    async def part() -> None:
        try:
            await block()
        except LineDown:
            await forever()

    task = asyncio.create_task(part())
    await turns(3)
    lost.set_exception(LineDown("gone"))
    await turns(apart)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(task), 30)
    assert task.cancelled()


async def test_a_bug_that_cancellation_brings_out_is_logged_and_swallows_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def block() -> None:
        async with Scope() as scope:
            scope.start(failing_when_cancelled(ZeroDivisionError("in cleanup")))
            await forever()

    task = asyncio.create_task(block())
    await turns(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert "ZeroDivisionError: in cleanup" in caplog.text


async def test_a_scope_in_the_cleanup_of_what_was_cancelled_still_tells_its_errors() -> None:
    seen = []

    async def part() -> None:
        try:
            await forever()
        finally:
            try:
                async with Scope() as scope:
                    scope.start(failing(LinkDown("no goodbye")))
                    await forever()
            except LinkDown as down:
                seen.append(str(down))

    task = asyncio.create_task(part())
    await turns(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert seen == ["no goodbye"]


async def test_a_child_of_a_block_that_is_being_left_is_cancelled_too() -> None:
    late = []

    async with Scope() as scope:

        async def starts_another() -> None:
            try:
                await forever()
            finally:
                late.append(scope.start(forever()))

        scope.start(starts_another())
        await turns(1)

    assert late[0].cancelled()


async def test_a_timeout_around_a_scope_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(scope_of(forever(), block=forever()), 0.001)


async def test_a_child_has_the_name_of_its_parent_unless_it_has_its_own() -> None:
    """So that a line of the log can say whose it is."""
    names: list[str] = []

    async def tell() -> None:
        names.append(whose())

    async def nested() -> None:
        async with Scope() as scope:
            await scope.start(tell())

    async with Scope() as scope:
        await scope.start(nested(), "links.scada")
        await scope.start(tell(), "watchdog")
    assert names == ["links.scada", "watchdog"]


def test_outside_of_all_tasks_it_is_the_gateway() -> None:
    assert whose() == "gateway"
