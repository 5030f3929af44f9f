//! A store on a recorded device: work, and the judgement of images.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use orlop_tests::{
    Options, Registry,
    block::{Disk, FileSystem, Image, Moment, Player, Recording, Repair},
    disk::temporary_directory,
    rig::{self, all, seed},
    stream::Random,
    verify::{Depth, Event, Journal, Line, Tally, Worker, World},
};
use rustix::fs::syncfs;
use tempfile::TempDir;

const WORKERS: u64 = 3;

/// Requests to the device for each flush that is waited for: a file system that does not flush comes to an end.
const REQUESTS_MAX: u64 = 30;

/// One operation of a client in so many is followed by a sync of the whole file system, as the kernel's own
/// writing does it in time: what nobody waits for reaches the device as well, in an order of its own.
const SYNCS_ONE_IN: u64 = 6;

/// What is known of one run of work: everything that was written, and everything that was promised.
pub struct Work {
    pub recording: Recording,
    /// In their order; `at` counts the entries of the recording.
    pub lines: Vec<Line>,
}

impl Work {
    /// What was promised by then.
    pub fn promised(&self, moment: &Moment) -> Vec<Line> {
        self.lines.iter().filter(|line| line.at <= moment.until as u64).cloned().collect()
    }
}

#[derive(Debug, Default)]
pub struct Report {
    pub images: u64,
    /// How many of them have only what was flushed.
    pub whole: u64,
    pub repaired: u64,
    /// Images that are not right because e2fsck took names away that had been durable.
    pub names_lost: u64,
    pub rounds: u64,
    pub flushes: u64,
    pub entries: u64,
    /// Changes that were acknowledged, counted once for each image that must have them.
    pub promises: u64,
    pub recorded: u64,
    pub tally: Tally,
    pub images_ms: Vec<u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            images,
            whole,
            repaired,
            names_lost,
            rounds,
            flushes,
            entries,
            promises,
            recorded,
            tally,
            images_ms,
        } = self;
        let mut times = images_ms.clone();
        times.sort_unstable();
        let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
        let (half, longest) = (at(50).unwrap_or(&0), at(100).unwrap_or(&0));
        writeln!(f, "images                     {images}: {whole} at flushes, {} between", images - whole)?;
        writeln!(f, "recorded                   {rounds} runs, {flushes} flushes, {entries} requests")?;
        writeln!(f, "acknowledged changes       {recorded}, looked for in the images {promises} times")?;
        writeln!(f, "unanswered changes         {} there, {} not", tally.settled_after, tally.settled_before)?;
        writeln!(f, "uploads resumed            {}", tally.resumed)?;
        writeln!(f, "reads compared             {}, {} MiB", tally.reads, tally.bytes_read >> 20)?;
        writeln!(f, "repaired by e2fsck         {repaired}, {names_lost} of them with durable names lost")?;
        writeln!(f, "an image, ms               {half} (half), {longest} (longest)")?;
        write!(f, "losses 0 but for those, wrong bytes 0, orlop check clean after each other")
    }
}

pub struct Rig {
    pub file_system: FileSystem,
    /// Ended before its directory goes: fields are dropped in order.
    registry: Option<Registry>,
    directory: TempDir,
    /// Of the file system while work is recorded.
    options: &'static str,
    pub report: Report,
}

impl Rig {
    /// `None`, with a line that says so, where the file system can't be had.
    pub fn new(rig: &str, file_system: FileSystem, options: &'static str) -> Option<Self> {
        if let Some(obstacle) = file_system.obstacle() {
            eprintln!("rig {rig}, {file_system}: not run: {obstacle}");
            return None;
        }
        let (directory, report) = (temporary_directory(), Report::default());
        Some(Rig { file_system, registry: None, directory, options, report })
    }

    /// An empty file system.
    pub fn empty(&self) -> Image {
        Disk::make(self.file_system, self.directory.path())
    }

    fn mount(&self, image: &Image, clock: Option<Arc<AtomicU64>>) -> Result<Disk, String> {
        let options = if clock.is_some() { self.options } else { "" };
        let mounted = Disk::mount(self.file_system, self.directory.path(), image, clock, options);
        mounted.map_err(|broken| broken.to_string())
    }

    /// Serves the store on the mounted disk.
    fn serve(&mut self) -> Result<(), String> {
        let registry = self.registry.get_or_insert_with(|| {
            let parent = Some(Disk::path_in(self.directory.path()));
            Registry::prepare(Options { config: Some(rig::config("1h")), parent, ..Options::default() })
        });
        registry.try_restart(|| false).map(drop).map_err(|output| format!("it does not start:\n{output}"))
    }

    fn registry(&mut self) -> &mut Registry {
        self.registry.as_mut().expect("it was served")
    }

    /// Clients of the registry that know these lines; their own go to the file `journal`.
    fn workers(&mut self, lines: &[Line], clock: Arc<AtomicU64>) -> (Vec<Worker>, PathBuf) {
        let address = self.registry().address();
        let path = self.registry().scratch("client").join("journal");
        // There is none before the first time.
        let _ = fs::remove_file(&path);
        let journal = Arc::new(Journal::open(&path).expect("the journal can be made"));
        let world = Arc::new(World { clock, ..World::new(self.file_system.name(), seed(), WORKERS) });
        let workers = (0..WORKERS).map(|number| Worker::new(&world, number, &journal, address).knowing(lines));
        (workers.collect(), path)
    }

    /// Works on a store until the device was flushed so many times, or written to very often, and kills it then. `lines` are what
    /// is promised already. Errors: a promise was broken.
    pub async fn work(&mut self, base: &Image, lines: &[Line], flushes: u64) -> Result<Work, String> {
        let clock = Arc::<AtomicU64>::default();
        let disk = self.mount(base, Some(clock.clone()))?;
        self.serve()?;
        let root = Arc::new(fs::File::open(disk.path()).expect("a mounted file system can be opened"));
        let (workers, journal) = self.workers(lines, clock.clone());
        let flushed = disk.device.flushes();
        let end = flushed.load(Ordering::SeqCst) + flushes;
        let requests_end = clock.load(Ordering::SeqCst) + flushes * REQUESTS_MAX;
        let workers = all(workers, move |mut worker| {
            let (flushed, clock, root) = (flushed.clone(), clock.clone(), root.clone());
            let random = Mutex::new(Random(seed()));
            let is_over = move || {
                if random.lock().expect("nobody panics with it").below(SYNCS_ONE_IN) == 0 {
                    syncfs(&root).expect("a sync of a sound device does not fail");
                }
                flushed.load(Ordering::SeqCst) >= end || clock.load(Ordering::SeqCst) >= requests_end
            };
            async move {
                let result = match worker.verify(Depth::Everything).await {
                    Ok(()) => worker.run(is_over).await,
                    Err(violation) => Err(violation),
                };
                (worker, result)
            }
        });
        let ended = workers.await;
        let recording = disk.device.recording();
        self.registry().kill();
        ended.map_err(|violation| violation.to_string())?;
        let mut known: Vec<Line> = lines.iter().map(|line| Line { at: 0, ..line.clone() }).collect();
        known.extend(Journal::read(&journal).expect("the journal can be read"));
        self.report.rounds += 1;
        self.report.flushes += recording.flushed().len() as u64;
        self.report.entries += recording.entries.len() as u64;
        self.report.recorded += acknowledged(&known) - acknowledged(lines);
        Ok(Work { recording, lines: known })
    }

    /// Mounts an image, starts the store on it, and looks for everything that was promised.
    /// Errors: it is not there, or anything before it is not possible.
    pub async fn judge(&mut self, image: &Image, promised: &[Line]) -> Result<(), String> {
        let began = Instant::now();
        let disk = self.mount(image, None)?;
        let judged = self.judge_mounted(promised).await;
        if judged.is_err()
            && let Some(registry) = &mut self.registry
        {
            registry.abandon();
        }
        self.report.repaired += u64::from(disk.repair != Repair::Nothing);
        // Then nobody can say what is there; but nothing may be wrong.
        let is_absence = |broken: &str| broken.starts_with("it does not start") || broken.contains("404 Not Found");
        let judged = match judged {
            Err(broken) if disk.repair == Repair::NamesLost && is_absence(&broken) => {
                self.report.names_lost += 1;
                Ok(())
            }
            judged => judged,
        };
        drop(disk);
        self.report.images += 1;
        self.report.promises += acknowledged(promised);
        self.report.images_ms.push(began.elapsed().as_millis() as u64);
        judged
    }

    async fn judge_mounted(&mut self, promised: &[Line]) -> Result<(), String> {
        self.serve()?;
        let (workers, _) = self.workers(promised, Arc::default());
        let verified = all(workers, |mut worker| async move {
            let result = worker.verify(Depth::Everything).await;
            (worker, result)
        });
        let workers = verified.await.map_err(|violation| violation.to_string())?;
        workers.iter().for_each(|worker| self.report.tally.add(worker.tally()));
        self.registry().stop();
        let checked = self.registry().check();
        match checked.status.success() {
            true => Ok(()),
            false => Err(format!("{}{}", checked.stdout, checked.stderr)),
        }
    }

    /// Keeps an image that is wrong, with what must be in it. Gives what repeats the judgement.
    pub fn keep(&self, image: &Image, promised: &[Line]) -> String {
        let stores = self.directory.path().parent().expect("a temporary directory has a parent");
        let name = format!("{}-{}-{}", self.file_system.name().replace(' ', "-"), seed(), self.report.images);
        let path = stores.with_file_name("broken-images").join(name);
        fs::create_dir_all(&path).expect("a directory can be made");
        image.save(&path.join("image")).expect("the image can be kept");
        // Appended to otherwise.
        let _ = fs::remove_file(path.join("journal"));
        let journal = Journal::open(&path.join("journal")).expect("the journal can be made");
        promised.iter().for_each(|line| journal.append(line));
        format!("ORLOP_RIG_SEED={} ORLOP_BLOCK_REPLAY={}", seed(), path.display())
    }

    /// Judges what [`Rig::keep`] kept, if it is of this file system.
    pub async fn replay(&mut self, kept: &Path) -> Result<(), String> {
        let name = kept.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let own = format!("{}-{}-", self.file_system.name().replace(' ', "-"), seed());
        if !name.starts_with(&own) {
            return Ok(());
        }
        let image = Image::load(&kept.join("image")).map_err(|error| format!("{}: {error}", kept.display()))?;
        let lines = Journal::read(&kept.join("journal")).map_err(|error| format!("{}: {error}", kept.display()))?;
        self.judge(&image, &lines).await
    }

    /// Judges these moments, which are in the order of what is durable.
    /// Errors: the line that repeats it, and what is wrong.
    pub async fn judge_all(&mut self, work: &Work, moments: &[Moment]) -> Result<(), String> {
        let mut player = Player::new(&work.recording);
        for moment in moments {
            let (image, promised) = (player.image(moment), work.promised(moment));
            if let Err(broken) = self.judge(&image, &promised).await {
                let (file_system, number, again) = (self.file_system, self.report.images, self.keep(&image, &promised));
                return Err(format!("{again} image {number} of {file_system}, {moment}: {broken}"));
            }
            self.report.whole += u64::from(moment.durable == moment.until);
        }
        Ok(())
    }

    /// Ends well: nothing runs any more.
    pub fn end(mut self) -> Report {
        if let Some(registry) = &mut self.registry {
            registry.abandon();
        }
        std::mem::take(&mut self.report)
    }
}

fn acknowledged(lines: &[Line]) -> u64 {
    lines.iter().filter(|line| matches!(line.event, Event::Done)).count() as u64
}

/// Up to `count` moments of some work, in the order of what is durable: each flush, and one before the next
/// flush where there are any requests between them. If they are too many, those count that come after the first
/// promise.
pub fn moments(work: &Work, count: usize, random: &mut Random) -> Vec<Moment> {
    let flushed = work.recording.flushed();
    let mut moments: Vec<Moment> = flushed.iter().map(|flushed| work.recording.after_flush(*flushed)).collect();
    let between = flushed.iter().map(|flushed| work.recording.between_flushes(*flushed, random));
    moments.extend(between.filter(|moment| moment.until > moment.durable));
    let first = work.lines.iter().filter(|line| matches!(line.event, Event::Done)).map(|line| line.at).min();
    let is_early = |moment: &Moment| first.is_none_or(|first| (moment.until as u64) < first);
    while moments.len() > count {
        let early = moments.iter().position(is_early);
        moments.swap_remove(early.unwrap_or_else(|| random.below(moments.len() as u64) as usize));
    }
    moments.sort_by_key(|moment| (moment.durable, moment.until));
    moments
}
