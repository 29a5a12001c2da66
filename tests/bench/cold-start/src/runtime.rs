//! A fake of Lambda's runtime API, which waits for the first request for work.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::measure::{Start, memory_bytes};

/// A trust line. The function signs nothing with its key, and verifies nothing here.
const TRUST: &str =
    "aeaqcaibaeaqcaibaeaqcaibae:RWQBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";

/// Request line with which a function asks for work.
const NEXT: &str = "GET /2018-06-01/runtime/invocation/next HTTP/1.1";

pub(crate) struct FakeRuntime {
    listener: TcpListener,
    address: SocketAddr,
}

impl FakeRuntime {
    pub(crate) async fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Starts a function, waits until it asks for work, and ends it.
    pub(crate) async fn start(&self, program: &Path) -> io::Result<Start> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", program.display()))
        };
        let before = Instant::now();
        let mut function = self.command(program).spawn().map_err(named)?;
        let (line, _connection) = tokio::select! {
            line = self.request() => line?,
            status = function.wait() => {
                return Err(named(io::Error::other(format!("ended with {}", status?))));
            }
        };
        let time = before.elapsed();
        assert_eq!(line.trim_end(), NEXT, "a function asks for work first");
        let process = function.id().expect("the function waits for work");
        let memory_bytes = memory_bytes(process)?;
        function.kill().await?;
        Ok(Start { time, memory_bytes })
    }

    /// Returns the first line of a request, and its connection: the function exits once the
    /// connection closes.
    async fn request(&self) -> io::Result<(String, BufReader<TcpStream>)> {
        let (connection, _) = self.listener.accept().await?;
        let mut connection = BufReader::new(connection);
        let mut line = String::new();
        connection.read_line(&mut line).await?;
        Ok((line, connection))
    }

    /// Returns the command with the environment variables of Lambda and of a deployment.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", self.address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "check-in")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "check-in")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "check-in")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "none")
            .env("AWS_SECRET_ACCESS_KEY", "none")
            .env("PACKCAST_TABLE", "none")
            .env("PACKCAST_PASS_KEY", "1".repeat(64))
            .env("PACKCAST_TRUST", TRUST)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        command
    }
}
