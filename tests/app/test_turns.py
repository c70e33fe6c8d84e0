"""Turns are taken in the order of asking, and what is gone through in turns is closed with them."""

import threading
from contextlib import closing

from vid2vid_hub.app.turns import Turns, in_turn


def numbers(closed):
    try:
        yield from range(3)
    finally:
        closed.append(True)


def test_all_of_it_comes_each_in_a_turn_of_its_own():
    turn = Turns()
    found = []
    for number in in_turn(turn, numbers([])):
        with turn:  # it is nobody's between two steps
            found.append(number)
    assert found == [0, 1, 2]


def test_who_closes_it_closes_what_it_goes_through():
    closed = []
    held = numbers(closed)  # as an error holds it
    with closing(in_turn(Turns(), held)) as items:
        assert next(items) == 0
    assert closed
    assert list(held) == []


def test_who_asks_first_is_first():
    turn, order, threads = Turns(), [], []

    def take(number):
        with turn:
            order.append(number)

    with turn:
        for number in range(8):
            threads.append(threading.Thread(target=take, args=(number,)))
            threads[-1].start()
            while len(turn._line) < number + 2:
                pass
    for thread in threads:
        thread.join()
    assert order == list(range(8))
