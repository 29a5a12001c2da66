use proptest::prelude::*;

use super::*;
use crate::causes::messages;
use crate::state::document::{Document, DocumentError, DocumentText, MAX_TEXT_BYTES};

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

fn groups<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<GroupName> {
    names.into_iter().map(group).collect()
}

fn named(names: &[&str]) -> WaveDevices {
    WaveDevices::Groups(RolloutGroups::new(groups(names.iter().copied())).unwrap())
}

const fn wave(devices: WaveDevices, from: Option<u64>) -> Wave {
    let from = match from {
        Some(from) => Some(UnixTime(from)),
        None => None,
    };
    Wave { devices, from }
}

fn up_to(bound: u16, from: Option<u64>) -> Wave {
    wave(WaveDevices::UpTo(bound), from)
}

fn rollout(in_groups: &[&str], waves: Vec<Wave>) -> RolloutDocument {
    RolloutDocument::new(
        PackageId::try_from(1_795_000_000).unwrap(),
        Sha256Digest::of(b"manifest"),
        RolloutGroups::new(groups(in_groups.iter().copied())).unwrap(),
        RolloutSeed::from_bytes([7; 16]),
        Waves::new(waves).unwrap(),
    )
}

fn device(n: u32) -> DeviceId {
    format!("ocs:host-{n}-2026-03-04-05-06-07").parse().unwrap()
}

fn read(text: String) -> Result<Document<RolloutDocument>, DocumentError> {
    Document::read(DocumentText::new(text).unwrap())
}

#[test]
fn a_rollout_document_has_every_field_in_a_fixed_order() {
    let waves = vec![
        wave(named(&["pilot"]), Some(1_795_100_000)),
        up_to(100, Some(1_795_186_400)),
        up_to(10_000, None),
    ];
    let document = Document::new(rollout(&["office", "branch"], waves));
    let text = document.text().as_str();
    insta::assert_snapshot!(text, @r#"{"schema":2,"package":"1795000000","manifest":"05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f","groups":["branch","office"],"seed":"07070707070707070707070707070707","waves":[{"groups":["pilot"],"from":1795100000},{"up_to":100,"from":1795186400},{"up_to":10000,"from":null}]}"#);
    assert_eq!(read(text.to_owned()).unwrap(), document);
}

#[test]
fn other_forms_and_unknown_fields_make_a_rollout_unreadable() {
    let waves = vec![
        wave(named(&["pilot", "ring"]), Some(5)),
        up_to(10_000, None),
    ];
    let document = Document::new(rollout(&["branch", "office"], waves));
    let text = document.text().as_str();
    for (from, to) in [
        (r#""schema":2"#, r#""schema":3"#),
        (r#""schema":2,"#, ""),
        (
            r#""groups":["branch","office"]"#,
            r#""groups":["office","branch"]"#,
        ),
        (
            r#""groups":["branch","office"]"#,
            r#""groups":["branch","branch","office"]"#,
        ),
        (r#""groups":["branch","office"]"#, r#""groups":[]"#),
        (r#""seed":"07"#, r#""seed":"7"#),
        (r#""waves":["#, r#""halt_at":3,"waves":["#),
        (r#"{"up_to":10000,"from":null}"#, r#"{"up_to":10000}"#),
        (
            r#"{"up_to":10000,"from":null}"#,
            r#"{"from":null,"up_to":10000}"#,
        ),
        (
            r#"{"up_to":10000,"from":null}"#,
            r#"{"up_to":10000,"from":null,"days":1}"#,
        ),
        (
            r#"{"up_to":10000,"from":null}"#,
            r#"{"groups":["pilot"],"up_to":10000,"from":null}"#,
        ),
        (r#"{"up_to":10000,"from":null}"#, r#"{"from":null}"#),
        (r#"["pilot","ring"]"#, r#"["ring","pilot"]"#),
        (r#""package":"1795000000""#, r#""package":1795000000"#),
        (r#","from":5}"#, r#","from":"5"}"#),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        assert!(read(text.replacen(from, to, 1)).is_err(), "{to}");
    }
}

#[test]
fn a_device_is_in_the_first_wave_that_includes_it() {
    let waves = vec![
        up_to(1, None),
        wave(named(&["pilot"]), None),
        up_to(5_000, None),
        wave(named(&["ring"]), None),
        up_to(10_000, None),
    ];
    let document = rollout(&["office"], waves);
    let number = |n| WaveNumber::try_from(n).unwrap();
    let of = |n: u32, names: &[&str]| {
        let names = names.iter().copied().chain(["all"]);
        document.wave_of(&device(n), &groups(names))
    };
    let slot = |n: u32| Slot::of(document.seed, &device(n)).get();
    let with_slot = |slots: std::ops::Range<u16>| {
        let mut devices = 0..1_000_000;
        let device = devices.find(|n| slots.contains(&slot(*n)));
        device.expect("so many devices have every slot")
    };
    let (zero, low, high) = (
        with_slot(0..1),
        with_slot(1..5_000),
        with_slot(5_000..10_000),
    );
    assert_eq!(of(low, &["office"]), Some(number(3)));
    assert_eq!(of(low, &["office", "ring"]), Some(number(3)));
    assert_eq!(of(low, &["office", "pilot", "ring"]), Some(number(2)));
    assert_eq!(of(high, &["office"]), Some(number(5)));
    assert_eq!(of(high, &["office", "ring"]), Some(number(4)));
    assert_eq!(of(zero, &["office", "pilot"]), Some(number(1)));
    assert_eq!(of(low, &["pilot"]), None);
    assert_eq!(document.waves.last(), number(5));
    assert_eq!(number(5).next(), Some(number(6)));
    assert_eq!(number(16).next(), None);
}

#[test]
fn a_wave_is_open_from_its_time_on() {
    let waves = vec![up_to(100, Some(500)), up_to(10_000, None)];
    let document = rollout(&["all"], waves);
    let [first, last] = document.waves.as_slice() else {
        panic!("two waves");
    };
    assert!(!first.is_open(UnixTime(499)) && first.is_open(UnixTime(500)));
    assert!(!last.is_open(UnixTime(u64::MAX)));
    assert_eq!(document.opens(WaveNumber::FIRST), Some(UnixTime(500)));
    assert_eq!(document.opens(document.waves.last()), None);
    let opened = document.waves.opening(document.waves.last(), UnixTime(600));
    let last = opened.unwrap().as_slice()[1].clone();
    assert_eq!(last, up_to(10_000, Some(600)));
}

#[test]
fn the_largest_rollout_fits() {
    let longest = |kind: char| -> BTreeSet<GroupName> {
        let names = (0..MAX_ROLLOUT_GROUPS).map(|n| format!("{kind}{n:047}").parse());
        names.map(Result::unwrap).collect()
    };
    let many = |kind| RolloutGroups::new(longest(kind)).unwrap();
    let from = Some(UnixTime(u64::MAX));
    let mut waves = vec![
        Wave {
            devices: WaveDevices::Groups(many('w')),
            from
        };
        MAX_WAVES - 1
    ];
    waves.push(Wave {
        devices: WaveDevices::UpTo(SLOTS),
        from,
    });
    let mut document = rollout(&["all"], waves);
    document.groups = many('g');
    let length = Document::new(document).text().as_str().len();
    assert!(length <= MAX_TEXT_BYTES / 4, "{length}");
}

#[test]
fn error_messages() {
    let last = || up_to(10_000, None);
    let waves = [
        Waves::new(vec![]),
        Waves::new((1..=17).map(|n| up_to(n, None)).collect()),
        Waves::new(vec![up_to(0, None), last()]),
        Waves::new(vec![up_to(50, None), up_to(50, None), last()]),
        Waves::new(vec![up_to(10_001, None)]),
        Waves::new(vec![up_to(9_999, None)]),
        Waves::new(vec![wave(named(&["pilot"]), None)]),
        Waves::new(vec![up_to(50, Some(9)), up_to(10_000, Some(8))]),
        Waves::new(vec![up_to(50, None), up_to(10_000, Some(8))]),
        Waves::new(vec![last()])
            .unwrap()
            .opening(WaveNumber::try_from(2).unwrap(), UnixTime(7)),
    ];
    insta::assert_snapshot!(messages(waves.map(Result::unwrap_err)), @"
    a rollout has 1 to 16 waves, not 0
    a rollout has 1 to 16 waves, not 17
    wave 1 has the bound 0: a bound is above the bounds before it, and at most 10000
    wave 2 has the bound 50: a bound is above the bounds before it, and at most 10000
    wave 1 has the bound 10001: a bound is above the bounds before it, and at most 10000
    the last wave must have the bound 10000, so that each device has a wave
    the last wave must have the bound 10000, so that each device has a wave
    wave 2 must not open before the wave in front of it
    wave 2 must not open before the wave in front of it
    the rollout has 1 waves, and no wave 2
    ");
    insta::assert_snapshot!(WavesError::Devices, @"a wave has either 'groups' or 'up_to'");
    insta::assert_snapshot!(WaveNumber::try_from(0).unwrap_err(), @"expected the number of a wave, 1 to 16, found 0");
    let many = (0..41).map(|n| group(&format!("g{n}"))).collect();
    let errors = [BTreeSet::new(), many].map(|groups| RolloutGroups::new(groups).unwrap_err());
    insta::assert_snapshot!(messages(errors), @"
    a rollout or a wave names 1 to 40 groups, not 0
    a rollout or a wave names 1 to 40 groups, not 41
    ");
}

/// Valid waves: increasing bounds with groups between them, times that never decrease.
fn any_waves() -> impl Strategy<Value = Vec<Wave>> {
    let bounds = proptest::collection::btree_set(1_u16..10_000, 0..8);
    let steps = proptest::collection::vec((0_u64..3, any::<bool>()), 16);
    (bounds, steps, 0_usize..17).prop_map(|(bounds, steps, timed)| {
        let mut waves = Vec::new();
        let mut at = 1_795_000_000;
        for (bound, (step, has_ring)) in bounds.into_iter().chain([SLOTS]).zip(steps) {
            if has_ring && waves.len() < 14 {
                let ring = format!("ring{}", waves.len());
                waves.push(wave(named(&[&ring]), Some(at)));
            }
            at += step * 1_000;
            waves.push(up_to(bound, Some(at)));
        }
        waves.truncate(MAX_WAVES);
        for wave in waves.iter_mut().skip(timed) {
            wave.from = None;
        }
        waves
    })
}

proptest! {
    #[test]
    fn every_rollout_reads_back_and_every_member_has_one_wave(waves in any_waves(), seed: [u8; 16], n: u32, ring in 0_usize..16) {
        let mut document = rollout(&["office"], vec![up_to(SLOTS, None)]);
        document.seed = RolloutSeed::from_bytes(seed);
        document.waves = Waves::new(waves).unwrap();
        let written = Document::new(document.clone());
        prop_assert_eq!(&*read(written.text().as_str().to_owned()).unwrap(), &document);
        let ring = format!("ring{ring}");
        let member = groups(["all", "office", &ring]);
        let number = document.wave_of(&device(n), &member);
        let number = number.expect("the last wave includes every device");
        let slot = Slot::of(document.seed, &device(n));
        for (earlier, wave) in document.waves.numbered() {
            prop_assert_eq!(wave.includes(slot, &member) && earlier <= number, earlier == number);
        }
        prop_assert_eq!(document.wave_of(&device(n), &groups(["all", &ring])), None);
    }

    #[test]
    fn a_wave_never_opens_before_an_earlier_one(waves in any_waves(), now in 1_795_000_000_u64..1_795_030_000) {
        let waves = Waves::new(waves).unwrap();
        let open: Vec<bool> = waves.as_slice().iter().map(|wave| wave.is_open(UnixTime(now))).collect();
        prop_assert!(open.is_sorted_by(|earlier, later| earlier >= later));
    }

    #[test]
    fn parsing_never_panics(text in ".{0,200}") {
        let _ = read(text);
    }
}
