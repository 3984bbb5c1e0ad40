from threading import Thread

from reportflow.once import once


def test_two_threads_that_ask_first_get_the_same_one() -> None:
    made: list[object] = []
    got: list[object] = []
    second = Thread(target=lambda: got.append(get()))

    @once
    def get() -> object:
        if not made:
            made.append(None)
            second.start()
            # Where nothing keeps the second one waiting, it is done well within this time.
            second.join(0.5)
        made.append(thing := object())
        return thing

    got.append(get())
    second.join()

    assert got[0] is got[1]


def test_nothing_is_made_before_it_is_asked_for() -> None:
    made: list[int] = []
    get = once(lambda: made.append(1))
    assert not made
    get()
    get()
    assert made == [1]
