"""Is one run better than another on more subjects than chance would have it?"""

from dataclasses import dataclass


@dataclass(frozen=True)
class SignTest:
    """How often one of two runs was better.

    Attributes:
        better: Subjects on which the first run is better.
        worse: Those on which it is worse.
        tied: Those on which both are equal; they do not count.
        p: Two-sided exact probability of a split at least as uneven, were both equally good.
    """

    better: int
    worse: int
    tied: int
    p: float


def sign_test(better: int, worse: int, tied: int = 0) -> SignTest:
    """The exact two-sided sign test.

    Source: Dixon and Mood 1946, J. Am. Stat. Assoc. 41, 557-566.
    """
    from scipy.stats import binomtest

    p = float(binomtest(better, better + worse).pvalue) if better + worse else 1.0
    return SignTest(better=better, worse=worse, tied=tied, p=p)
