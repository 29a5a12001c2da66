//! Devices of the world: a machine with an agent that keeps the rules.

use packcast_protocol::UnixTime;
use packcast_protocol::api::{BoundedText, GO_VALID_S};
use packcast_protocol::state::WaveNumber;

/// Effect of the package on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Good,
    /// The program succeeds, and asks for a restart.
    GoodAfterRestart,
    Fails,
    /// The program kills the machine, so that no result is reported.
    Dies,
    /// The machine dies after the report of a success, before it has settled.
    DiesSettling,
}

/// The program of the package on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    NotBegun,
    /// The machine is dead.
    Killed,
    Ended {
        succeeded: bool,
        asks_restart: bool,
    },
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Device {
    pub(crate) wave: WaveNumber,
    pub(crate) behaviour: Behaviour,
    pub(crate) is_ocs: bool,
    pub(crate) joins_at_once: bool,
    pub(crate) program: Program,
    pub(crate) is_acknowledged: bool,
    /// The task was announced to the device.
    pub(crate) is_told: bool,
    /// The device does not ask before this time.
    asks_from: UnixTime,
    /// Time of the question to which the function has answered `go`.
    pub(crate) go: Option<UnixTime>,
    pub(crate) boots: u32,
    /// The boot in which the program ran.
    ran_in: u32,
    /// Time at which the success is recorded, with the least time to settle.
    settles: Option<(UnixTime, u64)>,
}

impl Device {
    pub(crate) fn new(wave: WaveNumber, behaviour: Behaviour) -> Self {
        Self {
            wave,
            behaviour,
            is_ocs: false,
            joins_at_once: true,
            program: Program::NotBegun,
            is_acknowledged: false,
            is_told: false,
            asks_from: UnixTime(0),
            go: None,
            boots: 1,
            ran_in: 0,
            settles: None,
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.program != Program::Killed
    }

    /// Takes the answer to a check-in. An OCS agent begins without a question.
    pub(crate) fn told(&mut self, is_announced: bool, now: UnixTime) {
        self.is_told = is_announced && self.asks_from <= now;
        if self.is_ocs && is_announced {
            self.go = Some(now);
        }
    }

    /// Takes the answer to the question of this time: the device may begin, or it waits, and does not
    /// ask again for this number of seconds.
    pub(crate) fn answered(&mut self, may: bool, again_s: Option<u32>, asked: UnixTime) {
        self.go = may.then_some(asked);
        self.is_told = may;
        self.asks_from = asked.plus(again_s.unwrap_or(0).into());
    }

    /// Begins the program if it has not begun, and if a permission is valid.
    pub(crate) fn run(&mut self, now: UnixTime) -> bool {
        let is_valid = |asked: UnixTime| self.is_ocs || now.since(asked) <= GO_VALID_S;
        let may = self.go.take().is_some_and(is_valid);
        if !may || self.program != Program::NotBegun {
            return false;
        }
        self.ran_in = self.boots;
        self.program = match self.behaviour {
            Behaviour::Dies => Program::Killed,
            Behaviour::Fails => Program::Ended {
                succeeded: false,
                asks_restart: false,
            },
            Behaviour::GoodAfterRestart => Program::Ended {
                succeeded: true,
                asks_restart: true,
            },
            Behaviour::Good | Behaviour::DiesSettling => Program::Ended {
                succeeded: true,
                asks_restart: false,
            },
        };
        true
    }

    pub(crate) fn reboot(&mut self) {
        self.boots += 1;
        self.go = None;
        // The agent keeps this time in memory only.
        self.asks_from = UnixTime(0);
    }

    /// Returns the boot in which the program ran. An OCS agent knows no boots.
    pub(crate) fn ran_in(&self) -> Option<BoundedText<64>> {
        (!self.is_ocs).then(|| boot_id(self.ran_in))
    }

    /// Returns the present boot.
    pub(crate) fn boot(&self) -> Option<BoundedText<64>> {
        (!self.is_ocs).then(|| boot_id(self.boots))
    }

    /// The report of the program has reached the function, which has recorded a success or not.
    pub(crate) fn reported(&mut self, settles: Option<(UnixTime, u64)>) {
        self.settles = settles.or(self.settles);
        if self.behaviour == Behaviour::DiesSettling {
            self.program = Program::Killed;
        }
    }

    /// Returns true if the device is healthy at a check-in of this time.
    pub(crate) fn is_settled(&self, now: UnixTime) -> bool {
        let is_over = |(at, settle_s)| now.since(at) >= settle_s;
        let Program::Ended {
            succeeded,
            asks_restart,
        } = self.program
        else {
            return false;
        };
        let has_restarted = self.is_ocs || self.boots > self.ran_in;
        succeeded && self.settles.is_some_and(is_over) && (has_restarted || !asks_restart)
    }
}

/// Returns the text of a boot's id.
fn boot_id(boot: u32) -> BoundedText<64> {
    BoundedText::tail(&boot.to_string())
}
