//! Starting and stopping the processes of a deployment.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::{Api, Deployment, Setup};
use crate::Client;
use crate::process::Process;

impl Deployment {
    /// Starts the processes of the setup, and waits until they are ready.
    pub(super) async fn start_processes(&mut self, setup: &Setup) -> Result<()> {
        for _ in 0..setup.apis {
            self.start_api(&[]).await?;
        }
        for _ in 0..setup.workers {
            self.start_worker(&[]).await?;
        }
        Ok(())
    }

    /// Starts an instance of the api and waits until it is ready. Returns its index.
    pub async fn start_api(&mut self, variables: &[(&str, &str)]) -> Result<usize> {
        let number = self.launch_api(variables).await?;
        self.apis[number].client.wait_until_ready().await?;
        Ok(number)
    }

    /// Starts an instance of the api and waits until it listens. Returns its index.
    pub async fn launch_api(&mut self, variables: &[(&str, &str)]) -> Result<usize> {
        let name = format!("api-{}", self.apis.len());
        self.add_api(Process::start(&name, &self.programs.api, &[], &self.environment(variables))?).await
    }

    /// Starts an instance of the api that may have only this many open files, and waits until it is ready. Returns its
    /// index.
    pub async fn start_api_with_open_files(
        &mut self,
        open_files: u32,
        variables: &[(&str, &str)],
    ) -> Result<usize> {
        let (name, variables) = (format!("api-{}", self.apis.len()), self.environment(variables));
        let process = Process::start_with_open_files(&name, "hamro-api", open_files, &variables)?;
        let number = self.add_api(process).await?;
        self.apis[number].client.wait_until_ready().await?;
        Ok(number)
    }

    async fn add_api(&mut self, mut process: Process) -> Result<usize> {
        let url = process.line_after("listening on ").await?;
        self.apis.push(Api { process, client: Client::new(&url) });
        Ok(self.apis.len() - 1)
    }

    /// Starts a worker and waits until it consumes. Returns its index.
    pub async fn start_worker(&mut self, variables: &[(&str, &str)]) -> Result<usize> {
        let mut process = self.launch_worker(variables)?;
        process.line_after("consuming from ").await?;
        self.workers.push(process);
        Ok(self.workers.len() - 1)
    }

    /// Runs a worker that kills itself at a fault point, perhaps before it consumes, and waits until it is dead.
    pub async fn run_doomed_worker(&mut self, variables: &[(&str, &str)]) -> Result<()> {
        let mut process = self.launch_worker(variables)?;
        let status = process.ended().await?;
        ensure!(!status.success(), "the worker exited with {status}");
        self.stopped.push(process);
        Ok(())
    }

    fn launch_worker(&self, variables: &[(&str, &str)]) -> Result<Process> {
        let name = format!("worker-{}", self.workers.len());
        Process::start(&name, &self.programs.worker, &[], &self.environment(variables))
    }

    /// A client of the first api.
    pub fn client(&self) -> &Client {
        &self.apis[0].client
    }

    /// Kills a worker with SIGKILL.
    pub async fn kill_worker(&mut self, number: usize) -> Result<()> {
        let mut killed = self.workers.remove(number);
        killed.signal(Signal::SIGKILL)?;
        killed.ended().await?;
        self.stopped.push(killed);
        Ok(())
    }

    /// Stops the api instances with SIGTERM, and checks that each exits successfully and has logged no error.
    pub async fn stop_apis(&mut self) -> Result<()> {
        for api in std::mem::take(&mut self.apis) {
            self.stop(api.process).await?;
        }
        Ok(())
    }

    /// Stops one api instance in the same way.
    pub async fn stop_api(&mut self, number: usize) -> Result<()> {
        let api = self.apis.remove(number);
        self.stop(api.process).await
    }

    /// Stops one worker in the same way.
    pub async fn stop_worker(&mut self, number: usize) -> Result<()> {
        let worker = self.workers.remove(number);
        self.stop(worker).await
    }

    /// Stops the workers in the same way.
    pub async fn stop_workers(&mut self) -> Result<()> {
        for worker in std::mem::take(&mut self.workers) {
            self.stop(worker).await?;
        }
        Ok(())
    }

    /// Stops the workers once everything in the queue has been settled.
    pub async fn drain_and_stop_workers(&mut self) -> Result<()> {
        // Parcels that a worker has not started return to the queue. The last worker settles all of them.
        while self.workers.len() > 1 {
            self.stop_worker(0).await?;
        }
        if !self.workers.is_empty() {
            self.drained().await.context("waiting for the last worker")?;
            self.stop_worker(0).await?;
        }
        Ok(())
    }

    async fn stop(&mut self, mut process: Process) -> Result<()> {
        let ended = Self::end(&mut process).await;
        let name = process.name.clone();
        let has_logged_errors = process.printed().contains(" ERROR ");
        self.stopped.push(process);
        ended?;
        ensure!(self.expects_errors || !has_logged_errors, "{name} logged an error");
        Ok(())
    }

    async fn end(process: &mut Process) -> Result<()> {
        process.signal(Signal::SIGTERM)?;
        let status = process.ended().await?;
        ensure!(status.success(), "{} ended with {status}", process.name);
        Ok(())
    }
}
