from tocsin.core.own_network import WINDOW, NetworkJudge


def lost_after(*faults: bool, canary_before: bool = True, canary_now: bool = False) -> bool:
    judge = NetworkJudge()
    judge.canary(canary_before)
    judge.canary(canary_now)
    for fault in faults:
        judge.outcome(fault)
    return judge.lost


def test_most_targets_and_the_canary_fail() -> None:
    assert lost_after(True)
    assert lost_after(True, True, False)


def test_most_targets_fail_while_the_canary_passes() -> None:
    assert not lost_after(True, True, True, canary_now=True)


def test_the_canary_fails_while_most_targets_pass() -> None:
    assert not lost_after(False, False, True)
    assert not lost_after()


def test_a_canary_that_has_never_passed_is_not_believed() -> None:
    assert not lost_after(True, True, True, canary_before=False)


def test_what_happened_before_the_canary_failed_does_not_count() -> None:
    judge = NetworkJudge()
    judge.canary(True)
    for _ in range(WINDOW):
        judge.outcome(False)
    judge.canary(False)
    judge.outcome(True)
    assert judge.lost


def test_trust_returns_with_the_canary() -> None:
    judge = NetworkJudge()
    judge.canary(True)
    judge.canary(False)
    judge.outcome(True)
    judge.canary(True)
    judge.outcome(True)
    assert not judge.lost
    assert not judge.suspicious
