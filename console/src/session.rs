//! The only session of a console: decisions that get the time as an argument.

use packcast_protocol::UnixTime;

use crate::token::Token;

/// The time without use after which a session ends, in seconds.
pub const IDLE_S: u64 = 8 * 3_600;

/// The reason for which a console has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The person has ended the session.
    SignedOut,
    /// Nobody has used the session, or opened it, for [`IDLE_S`].
    Idle,
    /// The program was told to stop.
    Stopped,
}

/// The door of a console, before and after the token was used.
#[derive(Debug)]
pub(crate) enum Door {
    /// Nobody has used the token since this time.
    Closed {
        token: Token,
        since: UnixTime,
    },
    Open(Session),
    Over(Ended),
}

/// An open session.
#[derive(Debug)]
pub(crate) struct Session {
    cookie: Token,
    form: Token,
    last_use: UnixTime,
}

/// The secrets of a session that was just opened.
#[derive(Debug)]
pub(crate) struct NewSession {
    pub(crate) cookie: Token,
    pub(crate) form: Token,
}

/// The answer to a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignIn {
    Done,
    WrongToken,
    /// The token was used before.
    UsedToken,
}

impl Door {
    /// Opens the session if `text` is the token, and the token was not used yet.
    pub(crate) fn sign_in(&mut self, text: &str, new: NewSession, now: UnixTime) -> SignIn {
        match self {
            Self::Closed { token, .. } if token.is(text) => {
                *self = Self::Open(Session {
                    cookie: new.cookie,
                    form: new.form,
                    last_use: now,
                });
                SignIn::Done
            }
            Self::Closed { .. } => SignIn::WrongToken,
            Self::Open(_) | Self::Over(_) => SignIn::UsedToken,
        }
    }

    /// Returns the token for the forms of the session if a cookie is that of the session. The request
    /// counts as use.
    pub(crate) fn enter(&mut self, cookie: &str, now: UnixTime) -> Option<Token> {
        self.end_if_idle(now);
        match self {
            Self::Open(session) if session.cookie.is(cookie) => {
                session.last_use = now;
                Some(session.form.clone())
            }
            _ => None,
        }
    }

    /// Ends the session.
    pub(crate) fn sign_out(&mut self) {
        *self = Self::Over(Ended::SignedOut);
    }

    /// Ends the console if nobody has used it for [`IDLE_S`]. Returns the reason of its end.
    pub(crate) fn end_if_idle(&mut self, now: UnixTime) -> Option<Ended> {
        let last_use = match self {
            Self::Closed { since, .. } => *since,
            Self::Open(session) => session.last_use,
            Self::Over(ended) => return Some(*ended),
        };
        if !is_idle(last_use, now) {
            return None;
        }
        *self = Self::Over(Ended::Idle);
        Some(Ended::Idle)
    }
}

/// Returns true if a session was not used for [`IDLE_S`]. A clock that was set back by as much does not
/// prolong a session.
const fn is_idle(last_use: UnixTime, now: UnixTime) -> bool {
    now.0.abs_diff(last_use.0) >= IDLE_S
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn new() -> NewSession {
        NewSession {
            cookie: Token::random().unwrap(),
            form: Token::random().unwrap(),
        }
    }

    /// Returns an open door with its token and its cookie.
    fn open() -> (Door, Token, Token) {
        let (token, new) = (Token::random().unwrap(), new());
        let cookie = new.cookie.clone();
        let mut door = Door::Closed {
            token: token.clone(),
            since: NOW,
        };
        assert_eq!(door.sign_in("guess", self::new(), NOW), SignIn::WrongToken);
        assert!(door.enter("", NOW).is_none());
        assert_eq!(door.sign_in(token.reveal(), new, NOW), SignIn::Done);
        (door, token, cookie)
    }

    #[test]
    fn a_token_opens_one_session() {
        let (mut door, token, cookie) = open();
        let again = door.sign_in(token.reveal(), new(), NOW);
        assert_eq!(again, SignIn::UsedToken);
        assert!(door.enter(cookie.reveal(), NOW).is_some());
        assert!(door.enter(token.reveal(), NOW).is_none());
        assert!(door.enter("", NOW).is_none());
    }

    #[test]
    fn a_session_ends_after_eight_hours_without_use() {
        let (mut door, _, cookie) = open();
        let almost = NOW.plus(IDLE_S - 1);
        assert!(door.enter(cookie.reveal(), almost).is_some());
        // The request counted as use.
        let later = almost.plus(IDLE_S - 1);
        assert!(door.enter(cookie.reveal(), later).is_some());
        assert_eq!(door.end_if_idle(later), None);
        assert!(door.enter(cookie.reveal(), later.plus(IDLE_S)).is_none());
        assert_eq!(door.end_if_idle(later), Some(Ended::Idle));
        assert!(door.enter(cookie.reveal(), later).is_none());
    }

    #[test]
    fn a_console_that_nobody_opens_ends_too() {
        let (token, since) = (Token::random().unwrap(), NOW);
        let mut door = Door::Closed { token, since };
        assert_eq!(door.end_if_idle(NOW.plus(IDLE_S - 1)), None);
        assert_eq!(door.end_if_idle(NOW.plus(IDLE_S)), Some(Ended::Idle));
    }

    #[test]
    fn a_session_that_was_ended_stays_ended() {
        let (mut door, token, cookie) = open();
        door.sign_out();
        assert!(door.enter(cookie.reveal(), NOW).is_none());
        let again = door.sign_in(token.reveal(), new(), NOW);
        assert_eq!(again, SignIn::UsedToken);
        assert_eq!(door.end_if_idle(NOW), Some(Ended::SignedOut));
    }
}
