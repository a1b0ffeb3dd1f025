"""One family of errors: whoever catches AitbcError has caught all of ours, and each knows its HTTP status."""

import inspect
from http import HTTPStatus

from aitbc import errors


def classes():
    return [found for _, found in inspect.getmembers(errors, inspect.isclass) if found.__module__ == errors.__name__]


def test_every_error_is_of_the_family():
    found = [error for error in classes() if issubclass(error, BaseException)]
    assert len(found) > 5
    assert [error.__name__ for error in found if not issubclass(error, errors.AitbcError)] == []


def test_every_error_has_a_status_a_title_and_a_docstring():
    for error in classes():
        if issubclass(error, errors.AitbcError):
            assert HTTPStatus(error.status) >= 400
            assert error.title
            assert error.__doc__
