
function Say([string] $name, [string] $encoded) { [Console]::Out.Write("$nonce $name $encoded`n") }
function Tell([string] $name, [string] $text) {
  Say $name ([Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($text)))
}
function Read-Value { [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($stdin.ReadLine())) }
function Get-Unix([DateTime] $time) { ([DateTimeOffset] $time).ToUnixTimeSeconds() }
function Get-Kind([string] $path) {
  try { $attributes = [IO.File]::GetAttributes($path) }
  catch {
    $base = $_.Exception.GetBaseException()
    if ($base -is [IO.FileNotFoundException] -or $base -is [IO.DirectoryNotFoundException]) { return 'absent' }
    return 'other'
  }
  if ($attributes -band [IO.FileAttributes]::ReparsePoint) { return 'symlink' }
  if ($attributes -band [IO.FileAttributes]::Directory) { return 'other' }
  'file'
}
function Get-Sha256([byte[]] $bytes) {
  # Not SHA256.Create: that one throws where Windows only allows what is certified for FIPS.
  $sha = New-Object Security.Cryptography.SHA256CryptoServiceProvider
  ([BitConverter]::ToString($sha.ComputeHash($bytes)) -replace '-', '').ToLowerInvariant()
}
function Get-FileSha256([string] $path) {
  $bytes = [IO.File]::ReadAllBytes($path)
  Get-Sha256 $bytes
}
function Test-Admin {
  $me = New-Object Security.Principal.WindowsPrincipal([Security.Principal.WindowsIdentity]::GetCurrent())
  $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
}

function Invoke-IoTEdge([string] $arguments, [int] $seconds) {
  # What it printed and how it ended; -1 where it could not be started or did not end in time.
  $result = @{ Code = -1; Text = '' }
  $program = Join-Path $env:ProgramFiles 'iotedge\iotedge.exe'
  if (-not [IO.File]::Exists($program)) {
    # sshd has the PATH of the day it was started, so the usual place comes first.
    $found = Get-Command -Name iotedge -CommandType Application -ErrorAction SilentlyContinue | Select-Object -First 1
    if (-not $found) { return $result }
    $program = $found.Path
  }
  try {
    $start = New-Object Diagnostics.ProcessStartInfo($program, $arguments)
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    # Its stdin is its own: ours holds parameters.
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $start.StandardOutputEncoding = [Text.Encoding]::UTF8
    $process = [Diagnostics.Process]::Start($start)
    $process.StandardInput.Close()
    $output = $process.StandardOutput.ReadToEndAsync()
    $null = $process.StandardError.ReadToEndAsync()
    if ($process.WaitForExit($seconds * 1000)) { $result.Code = $process.ExitCode } else { $process.Kill() }
    # A child that lives on would hold the pipe.
    if ($output.Wait(5000)) { $result.Text = $output.Result }
  } catch { }
  $result
}

function Get-Daemon([string] $name) {
  try { Get-CimInstance -ClassName Win32_Service -Filter "Name='$name'" -OperationTimeoutSec 20 } catch { }
}
function Get-Started($daemon) {
  # When the service's process started; nothing where it has none.
  if ($daemon -and $daemon.ProcessId) {
    try { (Get-Process -Id $daemon.ProcessId).StartTime } catch { }
  }
}
function Get-Mark($daemon) {
  # Differs after every start.
  $began = Get-Started $daemon
  if ($began) { "$($began.Ticks)" } else { '0' }
}

function Invoke-Alone([scriptblock] $change) {
  # What another operator began goes on when that one is gone. The lock ends with the process that has it.
  $lock = New-Object Threading.Mutex($false, 'Global\edgeherd')
  try { $free = $lock.WaitOne(0) }
  catch [Threading.AbandonedMutexException] { $free = $true }
  if (-not $free) { return 'changed' }
  try { & $change } finally { $lock.ReleaseMutex() }
}

$temp = $null
$backup = $null
function Get-Reason($exception) {
  $base = $exception.GetBaseException()
  if ($base -is [FormatException]) { return 'incomplete' }
  # Of a Win32 error the lower half of the HRESULT is its number.
  switch ($base.HResult -band 0xFFFF) {
    39 { return 'full' }
    112 { return 'full' }
    1295 { return 'full' }
    19 { return 'readonly' }
    80 { return 'changed' }
    183 { return 'changed' }
  }
  'unwritable'
}
function Test-Same([string] $path, [string] $hash) {
  $kind = Get-Kind $path
  if ($hash -eq 'absent') { return $kind -eq 'absent' }
  ($kind -eq 'file') -and ((Get-FileSha256 $path) -eq $hash)
}
function Test-Folders([string] $path) {
  # Whoever may bend a folder on the way would be given keys.
  $folder = [IO.Path]::GetDirectoryName($path)
  while ($folder) {
    if ((Get-Kind $folder) -eq 'symlink') { return $false }
    $folder = [IO.Path]::GetDirectoryName($folder)
  }
  $true
}
function Remove-Stale([string] $folder) {
  # What a power cut left. The age is in the name: a backup has the times of the file that it was.
  $limit = (Get-Unix ([DateTime]::UtcNow)) - 900
  try {
    Get-ChildItem -LiteralPath $folder -Filter '.edgeherd.*' -File -Force |
      Where-Object { $_.Name -match '^\.edgeherd\.(\d{1,12})\.' -and [long] $Matches[1] -lt $limit } |
      Remove-Item -Force
  } catch { }
}
function Write-Closed([string] $path, [byte[]] $bytes) {
  # Open to SYSTEM and Administrators alone, from the first moment on.
  $closed = New-Object Security.AccessControl.FileSecurity
  $closed.SetSecurityDescriptorSddlForm('D:P(A;;FA;;;SY)(A;;FA;;;BA)')
  $stream = [IO.File]::Create($path, 4096, [IO.FileOptions]::WriteThrough, $closed)
  try {
    $stream.Write($bytes, 0, $bytes.Length)
    $stream.Flush($true)
  } finally { $stream.Dispose() }
}
function Move-Over([string] $from, [string] $to, [string] $keep) {
  # A virus scanner may hold a fresh file for a moment: 32 and 1175 leave everything as it was.
  for ($try = 1; ; $try++) {
    try { [IO.File]::Replace($from, $to, $keep); return }
    catch {
      $code = $_.Exception.GetBaseException().HResult -band 0xFFFF
      if ($try -ge 4 -or ($code -ne 32 -and $code -ne 1175)) { throw }
      Start-Sleep -Milliseconds 300
    }
  }
}
function Get-Access([string] $path) {
  $section = [Security.AccessControl.AccessControlSections]::Access
  [IO.File]::GetAccessControl($path, $section).GetSecurityDescriptorSddlForm($section)
}
function Set-Access([string] $path, [string] $sddl) {
  $security = New-Object Security.AccessControl.FileSecurity
  $security.SetSecurityDescriptorSddlForm($sddl, [Security.AccessControl.AccessControlSections]::Access)
  [IO.File]::SetAccessControl($path, $security)
}
function Undo-Write {
  if ($before -eq 'absent') { [IO.File]::Delete($path) } else { Move-Over $backup $path $temp }
}
function Restart-Daemon {
  # Not Restart-Service: it waits without an end. What fails here is seen afterwards.
  try {
    $turns = 0
    $service = Get-Service -Name $unit
    # A service takes no stop while it starts.
    while ($service.Status -like '*Pending' -and $turns -lt 60) {
      Start-Sleep -Milliseconds 500
      $service.Refresh()
      $turns++
    }
    if ($service.Status -ne 'Stopped') {
      $service.Stop()
      $service.WaitForStatus('Stopped', [TimeSpan]::FromSeconds(90))
    }
  } catch { }
  try { (Get-Service -Name $unit).Start() } catch { }
}
function Test-Steady {
  # Whether the daemon ran, and not merely between two falls: Windows starts it anew a second after each.
  $daemon = Get-Daemon $unit
  if (-not $daemon -or $daemon.State -ne 'Running') { return $false }
  $began = Get-Started $daemon
  $began -and ((Get-Date) - $began).TotalSeconds -ge 10
}
function Test-Accepted {
  # Yes when it serves, no when it ended (maybe to be started anew, as another process), yes when in doubt.
  $clock = [Diagnostics.Stopwatch]::StartNew()
  $first = 0
  while ($clock.Elapsed.TotalSeconds -lt 10) {
    $daemon = Get-Daemon $unit
    if ($daemon) {
      if ($daemon.State -eq 'Stopped') { return $false }
      if ($daemon.ProcessId) {
        if (-not $first) { $first = $daemon.ProcessId }
        if ($daemon.ProcessId -ne $first) { return $false }
      }
      if ($daemon.State -eq 'Running' -and (Invoke-IoTEdge 'list' 5).Code -eq 0) { return $true }
    }
    Start-Sleep -Milliseconds 500
  }
  $true
}
function Invoke-Change {
  if (-not (Test-Admin)) { return 'unwritable' }
  if (-not (Test-Folders $path)) { return 'parent' }
  if (-not (Test-Same $path $before)) { return 'changed' }
  if ($started -and (Get-Mark (Get-Daemon $unit)) -ne $started) { return 'changed' }
  $steady = Test-Steady
  if ($after -ne '-') {
    $folder = [IO.Path]::GetDirectoryName($path)
    Remove-Stale $folder
    $bytes = [Convert]::FromBase64String($stdin.ReadLine())
    if ((Get-Sha256 $bytes) -ne $after) { return 'incomplete' }
    Write-Closed $temp $bytes
    if (-not (Test-Same $path $before)) { return 'changed' }
    if ($before -eq 'absent') { [IO.File]::Move($temp, $path) }
    else {
      $access = Get-Access $path
      Move-Over $temp $path $backup
      try { if ((Get-Access $path) -ne $access) { Set-Access $path $access } }
      catch { Undo-Write; return 'owner' }
    }
  }
  if ($action -eq 'none') { return 'applied' }
  Restart-Daemon
  # Windows does not tell bad settings from other ends. Only of a daemon that ran before is it fair to say: the file.
  if (-not $steady -or $action -eq 'retire' -or (Test-Accepted)) { return 'applied' }
  if ($after -ne '-') { Undo-Write }
  Restart-Daemon
  'refused'
}
try {
  $path = Read-Value
  $before = Read-Value
  $after = Read-Value
  $unit = Read-Value
  $action = Read-Value
  $started = Read-Value
  if ($path) {
    $mine = '.edgeherd.{0}.{1}' -f (Get-Unix ([DateTime]::UtcNow)), [Guid]::NewGuid().ToString('N')
    $temp = [IO.Path]::Combine([IO.Path]::GetDirectoryName($path), $mine)
    $backup = "$temp.old"
    $word = Invoke-Alone { Invoke-Change } | Select-Object -Last 1
  } else { $word = 'incomplete' }
} catch { $word = Get-Reason $_.Exception }
# Nothing of ours stays behind: it holds keys. A Replace that broke halfway has left the only copy in the backup.
try {
  if ($backup -and [IO.File]::Exists($backup) -and -not [IO.File]::Exists($path)) { [IO.File]::Move($backup, $path) }
} catch { }
foreach ($rest in $temp, $backup) { try { if ($rest) { [IO.File]::Delete($rest) } } catch { } }
Tell 'result' $word
