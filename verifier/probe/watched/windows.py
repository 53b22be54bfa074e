"""Windows that slide over a text, as the notes show them.

Public sliding evaluations begin a window every `stride` targets and count its last `stride`, all of
the first. Where the text ends windows become shorter, and each still counts its last: the end of
the text is counted up to window / stride times. That moves the mean that they print, little in a
whole validation set and more than its last digit in a sample.
"""

import numpy as np

from verifier.probe.watched.passes import Noted, Places


def counted_again(noted: Noted, first: Places) -> Places:
    """Notes of targets that windows at the end of the text count once more.

    Args:
        noted: all notes.
        first: (P,) the first note of each target, of a pass.
    """
    start = first.min()
    place = noted.position[start:]
    is_first = np.zeros(len(place), dtype=bool)
    is_first[first - start] = True
    begins = np.flatnonzero(np.diff(place, prepend=-1) != 1)  # of windows: of targets in a row
    ends = np.append(begins[1:], len(place))
    num_new = np.add.reduceat(is_first.astype(np.int64), begins)
    if not num_new.any():
        return first[:0]
    stride = int(np.bincount(num_new[num_new > 0]).argmax())
    again = []
    for window in range(int(np.searchsorted(begins, first.max() - start, "right")) - 1, len(ends)):
        begin, end = int(begins[window]), int(ends[window])
        if place[end - 1] != place.max() or noted.is_learned[start + begin]:
            break
        counted = np.arange(max(begin, end - stride), end)
        again.append(counted[~is_first[counted]] + start)
    return np.concatenate(again) if again else first[:0]
