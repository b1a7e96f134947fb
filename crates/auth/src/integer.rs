//! The integer that a JSON number is, however it is written.

/// `Number.MAX_SAFE_INTEGER`: the largest that JavaScript tells from its neighbours.
const MAX_SAFE: u64 = (1 << 53) - 1;
/// As many digits as that has.
const MAX_DIGITS: i64 = 16;

/// The fault of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntegerFault {
    /// It has a fraction.
    Fraction,
    /// It is beyond 2^53 - 1, where JavaScript would read one number for several.
    Unsafe,
}

/// The value of a JSON number such as `10000`, `1e4` or `10000.0`, without rounding.
pub(super) fn integer(number: &str) -> Result<i64, IntegerFault> {
    let (sign, unsigned) = number.strip_prefix('-').map_or((1, number), |rest| (-1, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let saturated = if exponent.starts_with('-') { i64::MIN } else { i64::MAX };
    let zeros = exponent
        .parse::<i64>()
        .unwrap_or(saturated)
        .saturating_sub(fraction.len() as i64)
        .saturating_add((digits.len() - significant.len()) as i64);
    if zeros < 0 {
        return Err(IntegerFault::Fraction);
    }
    if zeros.saturating_add(significant.len() as i64) > MAX_DIGITS {
        return Err(IntegerFault::Unsafe);
    }
    // At most sixteen digits, zeros included: nothing here can overflow.
    let value = significant.parse::<u64>().map_err(|_| IntegerFault::Unsafe)? * 10_u64.pow(zeros as u32);
    if value > MAX_SAFE { Err(IntegerFault::Unsafe) } else { Ok(sign * value as i64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_one_however_it_is_written() {
        for number in
            ["10000", "1e4", "1E+4", "10000.0", "10000.000", "1.0e4", "0.1e5", "100000e-1", "1000000E-2"]
        {
            assert_eq!(integer(number), Ok(10_000), "{number}");
        }
        for number in ["0", "-0", "0.0", "0e99999999999999999999", "-0.000e-7"] {
            assert_eq!(integer(number), Ok(0), "{number}");
        }
        assert_eq!(integer("-7.0"), Ok(-7));
        assert_eq!(integer("0.00000000000000000001e20"), Ok(1));
    }

    #[test]
    fn a_fraction_is_none_however_small() {
        for number in [
            "1.5",
            "1e-1",
            "-0.5",
            "10000.00000000000000000001",
            "9007199254740991.4",
            "15e-99999999999999999999",
        ] {
            assert_eq!(integer(number), Err(IntegerFault::Fraction), "{number}");
        }
    }

    #[test]
    fn what_javascript_can_not_tell_apart_is_none() {
        assert_eq!(integer("9007199254740991"), Ok(9_007_199_254_740_991));
        assert_eq!(integer("-9007199254740991.0"), Ok(-9_007_199_254_740_991));
        for number in [
            "9007199254740992",
            "-9007199254740992",
            "9007199254740993",
            "1e16",
            "18446744073709551615",
            "1e999",
        ] {
            assert_eq!(integer(number), Err(IntegerFault::Unsafe), "{number}");
        }
        assert_eq!(integer("1e99999999999999999999"), Err(IntegerFault::Unsafe));
        assert_eq!(integer(&"9".repeat(5000)), Err(IntegerFault::Unsafe));
    }
}
