"""The advice of the command line: every error has an example, and no advice is useless.

``snapshots/errors.txt`` shows the lines.
"""

from __future__ import annotations

import pytest

from pop3fetch.cli.screen.advice import ADVICE, certificate_error, error_line, notice_line
from pop3fetch.errors import CertificateError, DeletionUnsafe, POP3Error
from pop3fetch.pop3.login import ALTHOUGH_STLS, MAIL_IN_CLEAR_TEXT
from tests.support.errors import EXAMPLES, FINGERPRINT
from tests.test_errors import class_tree


def test_each_error_has_an_example() -> None:
    assert {type(error) for error in EXAMPLES.values()} == set(class_tree())


@pytest.mark.parametrize("kind", ADVICE)
def test_each_advice_is_given_to_an_example(kind: type[POP3Error]) -> None:
    assert any(error_line(error) != str(error) for error in EXAMPLES.values() if type(error) is kind)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_line_is_the_sentence_of_the_error_and_what_to_do(name: str) -> None:
    error = EXAMPLES[name]
    sentence = str(error)
    if refused := certificate_error(error):
        sentence = sentence.replace(str(refused), str(CertificateError(refused.host, refused.reason)))
    advice = error_line(error).removeprefix(sentence)
    assert advice == "" or advice.startswith(("; ", " ["))
    assert not advice.endswith(".")


def test_the_line_of_a_certificate_has_its_fingerprint_once() -> None:
    for error in EXAMPLES.values():
        refused = certificate_error(error)
        if refused and refused.fingerprint and refused.cause != "not yet valid":
            option = "--tls-fingerprint" if error is refused else "tls_fingerprint"
            assert error_line(error).count(f" {option} {FINGERPRINT}") == 1
            assert error_line(error).count(FINGERPRINT) == 1


def test_no_advice_asks_for_what_was_just_done() -> None:
    assert "--ca-file" not in error_line(EXAMPLES["a certificate that the CA file does not cover"])
    assert "--ca-file" not in error_line(EXAMPLES["an expired certificate"])
    assert "--allow-insecure-login" not in error_line(EXAMPLES["APOP refused, clear text allowed"])


def test_a_notice_has_advice_too() -> None:
    assert notice_line(ALTHOUGH_STLS) == f"{MAIL_IN_CLEAR_TEXT}; use --tls starttls"
    assert notice_line(MAIL_IN_CLEAR_TEXT) == MAIL_IN_CLEAR_TEXT
    assert notice_line(str(DeletionUnsafe())) == str(DeletionUnsafe())  # `get` is what is running
    assert notice_line("UTF8 is not offered") == "UTF8 is not offered"
