"""One line an outage."""

from aitbc.telemetry.once import OutageLog


def test_an_outage_is_two_lines(caplog):
    outage = OutageLog("the ledger")
    outage.up()
    for _ in range(3):
        outage.down(OSError("refused"))
        assert outage.away
    outage.up()
    outage.up()
    texts = [record.getMessage() for record in caplog.records]
    assert texts[0] == "the ledger is away: refused"
    assert texts[1].startswith("the ledger is back after 0.")
    assert "3 failures" in texts[1]
    assert len(texts) == 2
    assert not outage.away


def test_the_next_outage_is_told_again(caplog):
    outage = OutageLog("the broker")
    for _ in range(2):
        outage.down(OSError("refused"))
        outage.up()
    assert len(caplog.records) == 4
