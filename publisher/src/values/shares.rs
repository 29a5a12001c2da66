//! Waves of a rollout as an administrator types them, such as `1,10,50,100`.

use packcast_protocol::state::document::{MAX_WAVES, SLOTS};
use packcast_rollout::rollout::WaveShares;

/// Hundredths of a percent in one percent.
const PER_PERCENT: f64 = 100.0;

/// Errors for a text that is not a list of waves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SharesError {
    #[error("expected percentages of the devices, such as 1,10,50,100 or 0.1,5,100")]
    Form,
    #[error("expected increasing percentages above 0, of which the last is at most 100")]
    Order,
    #[error("expected at most {MAX_WAVES} waves")]
    Count,
}

/// Reads the percentages of devices that have the package after each wave. The last wave always has
/// all devices: 100 may be left out.
pub fn parse(text: &str) -> Result<WaveShares, SharesError> {
    let mut bounds = Vec::new();
    for part in text.split(',') {
        let part = part.trim().trim_end_matches('%');
        let percent: f64 = part.parse().map_err(|_| SharesError::Form)?;
        let bound = bound(percent).ok_or(SharesError::Form)?;
        if bound > SLOTS || bounds.last().copied().unwrap_or(0) >= bound {
            return Err(SharesError::Order);
        }
        bounds.push(bound);
    }
    if bounds.last() != Some(&SLOTS) {
        bounds.push(SLOTS);
    }
    if bounds.len() > MAX_WAVES {
        return Err(SharesError::Count);
    }
    Ok(WaveShares::UpTo(bounds))
}

/// Returns a percentage in whole hundredths; `None` if it has smaller parts.
fn bound(percent: f64) -> Option<u16> {
    let hundredths = percent * PER_PERCENT;
    let whole = (0..=u16::MAX).find(|whole| f64::from(*whole) >= hundredths - 0.001)?;
    ((f64::from(whole) - hundredths).abs() < 0.001).then_some(whole)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn waves_have_percentages() {
        for (text, expected) in [
            ("1,10,50,100", vec![100, 1_000, 5_000, 10_000]),
            ("0.1, 5%", vec![10, 500, 10_000]),
            ("0.07,33.33", vec![7, 3_333, 10_000]),
            ("100", vec![10_000]),
        ] {
            assert_eq!(parse(text), Ok(WaveShares::UpTo(expected)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let many: Vec<String> = (1..=20).map(|percent| percent.to_string()).collect();
        let texts = [
            "",
            "x",
            "0.001",
            "-1",
            "NaN",
            "10,5",
            "0",
            "5,5",
            "101",
            &many.join(","),
        ];
        let errors = texts.map(|text| format!("{text}: {}", parse(text).unwrap_err()));
        assert_snapshot!(errors.join("\n"), @"
        : expected percentages of the devices, such as 1,10,50,100 or 0.1,5,100
        x: expected percentages of the devices, such as 1,10,50,100 or 0.1,5,100
        0.001: expected percentages of the devices, such as 1,10,50,100 or 0.1,5,100
        -1: expected percentages of the devices, such as 1,10,50,100 or 0.1,5,100
        NaN: expected percentages of the devices, such as 1,10,50,100 or 0.1,5,100
        10,5: expected increasing percentages above 0, of which the last is at most 100
        0: expected increasing percentages above 0, of which the last is at most 100
        5,5: expected increasing percentages above 0, of which the last is at most 100
        101: expected increasing percentages above 0, of which the last is at most 100
        1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20: expected at most 16 waves
        ");
    }
}
