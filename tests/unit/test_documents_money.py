"""Money on its way to MongoDB."""

from decimal import Decimal

from snacks.documents import DecimalCodec


def test_an_amount_keeps_its_digits_though_equal_ones_were_written_before() -> None:
    amounts = ["1", "1.0", "1.00", "-0.00", "0.00", "999999999.99"]
    assert [str(DecimalCodec().transform_python(Decimal(digits))) for digits in amounts] == amounts
