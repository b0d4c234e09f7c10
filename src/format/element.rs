//! What codes are.

use crate::numeric::{e2m1, e4m3, rounding};

/// Which way a value halfway between two E2M1 numbers goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SmallFloatTies {
    /// To the even code; only values below zero have the sign bit.
    Even,
    /// Towards zero; everything that is not above zero has the sign bit, zero included.
    Down,
}

/// What a code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// A float of 4 bits.
    E2m1(SmallFloatTies),
    /// A float of 8 bits, ties to even, saturating.
    E4m3,
    /// A whole number of so many bits (two's complement), ties to even, saturating.
    Int(u8),
}

impl Element {
    /// Bits of a code.
    pub const fn bits(self) -> u8 {
        match self {
            Self::E2m1(_) => 4,
            Self::E4m3 => 8,
            Self::Int(bits) => bits,
        }
    }

    /// The code of a quotient, in a byte: whole numbers are extended by their sign, other codes
    /// have zeros above.
    #[inline(always)]
    pub fn encode(self, quotient: f32) -> u8 {
        self.encode_and_round(quotient).0
    }

    /// The code of a quotient, and the number that it is.
    #[inline(always)]
    pub fn encode_and_round(self, quotient: f32) -> (u8, f32) {
        match self {
            Self::E2m1(SmallFloatTies::Even) => e2m1::encode_and_round(quotient),
            Self::E2m1(SmallFloatTies::Down) => {
                let code = e2m1::encode_ties_down(quotient);
                (code, e2m1::decode(code))
            }
            Self::E4m3 => e4m3::encode_and_round(quotient),
            Self::Int(bits) => {
                let limit = (1i32 << (bits - 1)) as f32;
                let whole = rounding::whole_ties_even(quotient.clamp(-limit, limit - 1.0));
                // By way of the code, which is 0 also where the quotient is no number.
                (whole as u8, f32::from(whole as i8))
            }
        }
    }

    /// The number that a code is.
    #[inline(always)]
    pub fn decode(self, code: u8) -> f32 {
        match self {
            Self::E2m1(_) => e2m1::decode(code),
            Self::E4m3 => e4m3::decode(code),
            Self::Int(_) => f32::from(code as i8),
        }
    }

    /// Whether a quotient is at most one step beyond the numbers that codes are.
    #[inline(always)]
    pub fn reaches(self, quotient: f32) -> bool {
        match self {
            Self::E2m1(_) => quotient.abs() <= e2m1::MAX + 2.0,
            Self::E4m3 => quotient.abs() <= e4m3::MAX + 32.0,
            Self::Int(bits) => {
                let limit = (1i32 << (bits - 1)) as f32;
                (-limit - 1.0..=limit).contains(&quotient)
            }
        }
    }
}
