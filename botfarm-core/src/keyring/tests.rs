use std::{collections::HashMap, fs};

use super::*;
use crate::id::BotId;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn ring() -> Keyring {
    Keyring::new(MasterKey::generate(), [])
}

fn password(text: &str) -> Secret {
    Secret::try_from(text).unwrap()
}

fn copy(key: &MasterKey) -> MasterKey {
    key.expose_base64().parse().unwrap()
}

fn from(vars: &[(&str, &str)]) -> Result<Keyring, KeyError> {
    let vars: HashMap<_, _> = vars.iter().copied().collect();
    Keyring::from_vars(|name| vars.get(name).map(OsString::from))
}

fn of(bot: BotId) -> SealedFor<'static> {
    SealedFor { bot, env: "stage", login: "Ada@shop.test", project: "shop", generation: 7 }
}

/// The text of the error, which is what people get.
fn refused<T>(result: Result<T, KeyError>) -> String {
    result.map(|_| "nothing is wrong").unwrap_err().to_string()
}

#[test]
fn sealed_password_opens_for_exactly_what_it_was_sealed_for() {
    let (ring, ada) = (ring(), of(BotId::new()));
    let sealed = ring.seal(&password("Pä$$wörd"), &ada);
    assert_eq!(ring.open(&sealed, &ada).unwrap(), password("Pä$$wörd"));
    let others = [
        SealedFor { bot: BotId::new(), ..ada },
        SealedFor { env: "prod", ..ada },
        SealedFor { login: "ada@shop.test", ..ada },
        SealedFor { project: "bank", ..ada },
        SealedFor { generation: 6, ..ada },
        // The same texts, divided otherwise.
        SealedFor { env: "stag", login: "eAda@shop.test", ..ada },
    ];
    for other in others {
        let error = ring.open(&sealed, &other).unwrap_err();
        assert!(matches!(error, KeyError::Altered) && error.is_tampering(), "{other:?}: {error}");
    }
}

#[test]
fn passwords_of_every_length_come_back() {
    let (ring, bot) = (ring(), of(BotId::new()));
    for text in ["x".to_owned(), "ß".repeat(63), "💥".repeat(1_024)] {
        let sealed = ring.seal(&password(&text), &bot);
        assert_eq!(sealed.len(), text.len() + 45);
        assert_eq!(ring.open(&sealed, &bot).unwrap().expose(), text);
    }
}

#[test]
fn same_password_is_never_sealed_alike() {
    let (ring, bot) = (ring(), of(BotId::new()));
    let (a, b) = (ring.seal(&password("same"), &bot), ring.seal(&password("same"), &bot));
    assert_ne!(a[5..29], b[5..29], "the nonces");
    assert_ne!(a[29..], b[29..], "the ciphertexts");
}

#[test]
fn no_changed_bit_goes_unnoticed() {
    let (ring, bot) = (ring(), of(BotId::new()));
    let sealed = ring.seal(&password("hunter2"), &bot);
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let error = ring.open(&changed, &bot).unwrap_err();
        let expected = match bit / 8 {
            0 if (2..16).contains(&changed[0]) => matches!(error, KeyError::Later),
            0 => matches!(error, KeyError::NotSealed),
            1..5 => matches!(error, KeyError::UnknownKey { id } if id.as_bytes() == &changed[1..5]),
            _ => matches!(error, KeyError::Altered),
        };
        assert!(expected, "bit {bit}: {error}");
        // A key that is missing, or another version, would open it, for all that is known.
        let could_open = matches!(error, KeyError::UnknownKey { .. } | KeyError::Later);
        assert_eq!(error.is_tampering(), !could_open, "bit {bit}: {error}");
    }
}

#[test]
fn cut_or_lengthened_values_do_not_open() {
    let (ring, bot) = (ring(), of(BotId::new()));
    let sealed = ring.seal(&password("hunter2"), &bot);
    for length in 0..sealed.len() {
        let error = ring.open(&sealed[..length], &bot).unwrap_err();
        assert_eq!(matches!(error, KeyError::NotSealed), length < 45, "{length}: {error}");
        assert_eq!(matches!(error, KeyError::Altered), length >= 45, "{length}: {error}");
    }
    let longer = [sealed.as_slice(), &[0]].concat();
    assert!(matches!(ring.open(&longer, &bot), Err(KeyError::Altered)));
    assert!(matches!(
        ring.open(b"hunter2, never sealed, and longer than forty-five bytes", &bot),
        Err(KeyError::NotSealed)
    ));
}

#[test]
fn key_moved_under_another_id_does_not_open() {
    let (a, b) = (MasterKey::generate(), MasterKey::generate());
    let bot = of(BotId::new());
    let mut sealed = Keyring::new(copy(&a), []).seal(&password("hunter2"), &bot);
    sealed[1..5].copy_from_slice(b.id().as_bytes());
    assert!(matches!(Keyring::new(a, [b]).open(&sealed, &bot), Err(KeyError::Altered)));
}

#[test]
fn old_keys_read_and_the_current_one_seals() {
    let (former, current) = (MasterKey::generate(), MasterKey::generate());
    let (former_id, current_id) = (former.id(), current.id());
    let bot = of(BotId::new());
    let before = Keyring::new(copy(&former), []);
    let sealed = before.seal(&password("hunter2"), &bot);

    let during = Keyring::new(copy(&current), [former]);
    assert_eq!(during.current_key_id(), current_id);
    assert_eq!(during.open(&sealed, &bot).unwrap(), password("hunter2"));
    assert_eq!((before.is_current(&sealed), during.is_current(&sealed)), (true, false));
    let resealed = during.seal(&password("hunter2"), &bot);
    assert_eq!(&resealed[1..5], current_id.as_bytes());
    assert!(during.is_current(&resealed));

    let after = Keyring::new(current, []);
    assert_eq!(after.open(&resealed, &bot).unwrap(), password("hunter2"));
    assert_eq!(
        refused(after.open(&sealed, &bot)),
        format!(
            "a password is sealed with the key {former_id}, which this farm was not given; add it to BOTFARM_OLD_KEYS"
        )
    );
}

#[test]
fn nothing_that_is_not_sealed_counts_as_current() {
    let ring = ring();
    let sealed = ring.seal(&password("hunter2"), &of(BotId::new()));
    for bytes in [&[][..], &[1], &sealed[..44], b"hunter2"] {
        assert!(!ring.is_current(bytes), "{bytes:?}");
    }
}

#[test]
fn check_value_tells_the_right_key_from_a_wrong_one() {
    let (key, other) = (MasterKey::generate(), MasterKey::generate());
    let (id, other_id) = (key.id(), other.id());
    let check = Keyring::new(copy(&key), []).seal_check();

    assert!(Keyring::new(copy(&key), []).open_check(&check).is_ok());
    assert!(Keyring::new(copy(&other), [copy(&key)]).open_check(&check).is_ok(), "an old key of the farm");
    let error = Keyring::new(other, []).open_check(&check).unwrap_err();
    assert!(matches!(error, KeyError::WrongKey { farm, given } if (farm, given) == (id, other_id)), "{error}");

    let ring = Keyring::new(key, []);
    assert!(matches!(ring.open_check(b""), Err(KeyError::NotSealed)));
    let password = ring.seal(&password("botfarm"), &of(BotId::new()));
    assert!(matches!(ring.open_check(&password), Err(KeyError::Altered)), "a password is no check value");
    assert!(matches!(ring.open(&check, &of(BotId::new())), Err(KeyError::Altered)), "nor the reverse");
}

/// The expected bytes come from another implementation: HKDF from Python's `hmac`, and libsodium's XChaCha20-Poly1305.
#[test]
fn format_is_what_another_implementation_writes() {
    let ring = Keyring::new(KEY.parse().unwrap(), []);
    let bot = of("018f5e4a-7c3b-7d2e-9a4b-3c2d1e0f5a6b".parse().unwrap());
    let sealed = bytes(
        "01c53144466465666768696a6b6c6d6e6f707172737475767778797a7b\
         114072808eebed5e3e8493ee9dc4c559c1f133cab2049610e0c0",
    );
    assert_eq!(ring.current_key_id().to_string(), "c5314446");
    assert_eq!(ring.open(&sealed, &bot).unwrap(), password("Pä$$wörd"));
    assert_eq!(
        ring.derive("sessions").as_slice(),
        bytes("483017dffd8398920b9ee9ee28906a829119f1305c4c9727b742d5fd5057e2b5")
    );
}

#[test]
fn purposes_give_keys_of_their_own() {
    let ring = ring();
    assert_eq!(ring.derive("sessions"), ring.clone().derive("sessions"));
    assert_ne!(ring.derive("sessions"), ring.derive("idempotency"));
    assert_ne!(ring.derive("sessions"), self::ring().derive("sessions"));
}

#[test]
fn keys_come_back_from_their_text() {
    let key: MasterKey = KEY.parse().unwrap();
    assert_eq!(*key.expose_base64(), KEY);
    assert_eq!(format!(" {KEY}\r\n").parse::<MasterKey>().unwrap().id(), key.id());
    assert_ne!(MasterKey::generate().id(), MasterKey::generate().id());
}

#[test]
fn what_is_not_a_key_is_refused() {
    let short = &KEY[4..];
    let long = format!("AAAA{KEY}");
    let thirty_three = format!("{}A", &KEY[..43]);
    for text in ["", "hunter2", short, &long, &thirty_three, &KEY[..43], &KEY.replace('A', "-"), "ключ"] {
        assert_eq!(
            refused(text.parse::<MasterKey>()),
            "this is not a key; a key is 32 bytes in base64, as `botfarm key new` prints them"
        );
    }
}

#[test]
fn environment_gives_the_current_and_the_old_keys() {
    let old: Vec<_> = [MasterKey::generate(), MasterKey::generate()].into();
    let texts: Vec<_> = old.iter().map(MasterKey::expose_base64).collect();
    let ring = from(&[("BOTFARM_KEY", KEY), ("BOTFARM_OLD_KEYS", &format!("{}, {},", *texts[0], *texts[1]))]).unwrap();
    assert_eq!(
        format!("{ring:?}"),
        format!("Keyring {{ current: KeyId(c5314446), old: [KeyId({}), KeyId({})] }}", old[0].id(), old[1].id())
    );
    let alone = from(&[("BOTFARM_KEY", KEY), ("BOTFARM_OLD_KEYS", "")]).unwrap();
    assert_eq!(format!("{alone:?}"), "Keyring { current: KeyId(c5314446), old: [] }");
}

#[test]
fn files_give_keys_too() {
    let directory = std::env::temp_dir().join(format!("botfarm-{}", BotId::new()));
    fs::create_dir(&directory).unwrap();
    let (current, old) = (directory.join("key"), directory.join("old"));
    let former = MasterKey::generate();
    fs::write(&current, format!("{KEY}\n")).unwrap();
    fs::write(&old, format!("{}\n{KEY}\n", *former.expose_base64())).unwrap();
    let (current, old) = (current.to_str().unwrap(), old.to_str().unwrap());
    let ring = from(&[("BOTFARM_KEY_FILE", current), ("BOTFARM_OLD_KEYS_FILE", old)]);
    let both = from(&[("BOTFARM_KEY_FILE", current), ("BOTFARM_KEY", KEY)]);
    fs::remove_dir_all(&directory).unwrap();

    assert_eq!(
        format!("{:?}", ring.unwrap()),
        format!("Keyring {{ current: KeyId(c5314446), old: [KeyId({}), KeyId(c5314446)] }}", former.id())
    );
    assert_eq!(refused(both), "BOTFARM_KEY and BOTFARM_KEY_FILE are both set; keep one of them");
    let gone = refused(from(&[("BOTFARM_KEY_FILE", current)]));
    assert!(gone.starts_with(&format!("BOTFARM_KEY_FILE names {current}, which cannot be read: ")), "{gone}");
}

#[test]
fn missing_and_faulty_keys_say_what_to_do() {
    let missing = "there is no key to seal passwords with; set BOTFARM_KEY to what `botfarm key new` prints, or \
                   BOTFARM_KEY_FILE to a file with it, and keep a copy: without it the passwords are lost";
    assert_eq!(refused(from(&[])), missing);
    assert_eq!(refused(from(&[("BOTFARM_KEY", "")])), missing);
    assert_eq!(
        refused(from(&[("BOTFARM_KEY", "hunter2")])),
        "BOTFARM_KEY is not a key; a key is 32 bytes in base64, as `botfarm key new` prints them"
    );
    assert_eq!(
        refused(from(&[("BOTFARM_KEY", KEY), ("BOTFARM_OLD_KEYS", &format!("{KEY},hunter2"))])),
        "key 2 of BOTFARM_OLD_KEYS is not a key; a key is 32 bytes in base64, as `botfarm key new` prints them"
    );
}

#[test]
fn no_key_is_shown() {
    let key: MasterKey = KEY.parse().unwrap();
    assert_eq!(format!("{key:?}"), "MasterKey(***)");
    assert_eq!(format!("{:?}", Keyring::new(key, [])), "Keyring { current: KeyId(c5314446), old: [] }");
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}
