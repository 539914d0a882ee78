import threading
import time

import pytest

from ds2cli.write_behind import MOST_WAITING, WriteBehind


def test_functions_run_in_order_and_before_the_end_of_the_block():
    done = []
    with WriteBehind() as behind:
        for i in range(3 * MOST_WAITING):
            behind.submit(lambda i=i: (time.sleep(0.001), done.append(i)))
        # no more than a few wait
        assert len(done) >= 2 * MOST_WAITING - 1
    assert done == list(range(3 * MOST_WAITING))


def test_they_run_while_other_work_is_done():
    began, may_end = threading.Event(), threading.Event()
    with WriteBehind() as behind:
        behind.submit(lambda: (began.set(), may_end.wait(10)))
        assert began.wait(10)
        may_end.set()


def test_an_error_is_raised_by_the_next_call_or_at_the_end():
    def fail():
        raise OSError("full")

    done = []
    with pytest.raises(OSError, match="full"), WriteBehind() as behind:
        behind.submit(fail)
        time.sleep(0.1)
        behind.submit(lambda: done.append(1))
    with pytest.raises(OSError, match="full"), WriteBehind() as behind:
        behind.submit(fail)
        behind.submit(lambda: done.append(1))
    assert not done


def test_what_has_not_begun_is_left_out_after_another_error():
    done, may_end = [], threading.Event()
    with pytest.raises(ValueError), WriteBehind() as behind:
        behind.submit(lambda: may_end.wait(10))
        behind.submit(lambda: done.append(1))
        threading.Timer(0.1, may_end.set).start()
        raise ValueError
    assert not done
